//! Upgrade checks, the sans-IO decoder, prepared frames, close codes.
