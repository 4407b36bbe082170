//! Who is calling: tokens, keys and claims.
