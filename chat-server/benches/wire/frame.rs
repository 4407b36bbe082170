//! What a client of a measurement puts around its commands.

/// A text frame; the mask of zeros changes nothing.
pub(crate) fn masked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(payload.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len.to_be_bytes()[1]),
        Ok(len) => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
        Err(_too_long) => unreachable!("commands of the measurement are short"),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
