//! Any bytes, in any split, give the same events or the same violation, in bounded memory.
#![no_main]

use chassis::websocket::{Decoder, Violation};
use libfuzzer_sys::fuzz_target;

const BYTES_MAX: usize = 4096;

fn decode<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Option<Violation>) {
    let (mut decoder, mut events) = (Decoder::new(BYTES_MAX), Vec::new());
    for chunk in chunks {
        let mut chunk = chunk.to_vec();
        let result = decoder.feed(&mut chunk, |event| events.push(format!("{event:?}")));
        if let Err(violation) = result {
            return (events, Some(violation));
        }
    }
    (events, None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    let whole = decode(std::iter::once(bytes));
    let split = decode(bytes.chunks(usize::from(step).max(1)));
    assert_eq!(whole, split);
});
