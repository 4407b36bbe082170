//! Frames of a server, cut anywhere, against what they hold.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::*;

/// A frame as a server writes it.
fn of_server(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(u8::try_from(short).unwrap()),
        medium @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// What a decoder makes of pieces.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<(Opcode, Vec<u8>)>, Broken> {
    let (mut decoder, mut all) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.feed(piece, |opcode, payload| all.push((opcode, payload.to_vec())))?;
    }
    assert!(decoder.is_between_frames());
    Ok(all)
}

fn opcode() -> impl Strategy<Value = Opcode> {
    prop_oneof![
        Just(Opcode::Text),
        Just(Opcode::Binary),
        Just(Opcode::Close),
        Just(Opcode::Ping),
        Just(Opcode::Pong),
    ]
}

#[test]
fn a_message_in_fragments_is_one_and_a_ping_may_come_in_between() {
    let frames = [
        of_server(0x01, b"on"),
        of_server(0x89, b"?"),
        of_server(0x00, b""),
        of_server(0x80, b"e"),
    ];
    let all = read([frames.concat().as_slice()]).unwrap();
    assert_eq!(all, [(Opcode::Ping, b"?".to_vec()), (Opcode::Text, b"one".to_vec())]);
}

#[test]
fn what_nobody_agreed_on_is_an_error() {
    for (frame, wanted) in [
        (of_server(0xc1, b"compressed"), Broken::Strange),
        (of_server(0x83, b"unknown"), Broken::Strange),
        (vec![0x81, 0x80, 0, 0, 0, 0], Broken::Strange),
        (of_server(0x80, b"continues nothing"), Broken::Fragments),
        (of_server(0x09, b"half a ping"), Broken::Fragments),
        ([of_server(0x01, b"one"), of_server(0x81, b"other")].concat(), Broken::Fragments),
        (vec![0x82, 127, 0, 0, 0, 0, 1, 0, 0, 1], Broken::TooLong),
        (vec![0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Broken::TooLong),
    ] {
        assert_eq!(read([frame.as_slice()]), Err(wanted), "{frame:x?}");
    }
}

#[test]
fn a_connection_between_frames_owns_next_to_nothing() {
    let mut decoder = Decoder::default();
    for size in [200, 5_000, 70_000, 200] {
        let frame = of_server(0x82, &vec![7; size]);
        let (one, other) = frame.split_at(frame.len() / 2);
        decoder.feed(one, |_, _| {}).unwrap();
        decoder.feed(other, |_, _| {}).unwrap();
        assert!(decoder.carry.capacity() <= CARRY_KEPT, "{size}");
    }
    assert!(decoder.is_between_frames());
}

#[test]
fn what_a_client_writes_is_masked_with_zeros() {
    for size in [0, 125, 126, 65_535, 65_536] {
        let mut out = b"before".to_vec();
        write(Opcode::Text, &mut out, |out| out.resize(out.len() + size, b'x'));
        let plain = of_server(0x81, &vec![b'x'; size]);
        let head = plain.len() - size;
        assert_eq!(out[6], 0x81);
        assert_eq!(out[7], 0x80 | plain[1]);
        assert_eq!(out[8..6 + head], plain[2..head]);
        assert_eq!(out[6 + head..10 + head], [0; 4]);
        assert_eq!(out[10 + head..], plain[head..]);
    }
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in_wherever_the_reads_end(
        messages in vec((opcode(), vec(any::<u8>(), 0..300), 0_usize..3), 0..20),
        cuts in vec(1_usize..200, 1..50),
    ) {
        let mut bytes = Vec::new();
        for (opcode, payload, fragments) in &messages {
            if opcode.is_control() || *fragments == 0 {
                bytes.extend(of_server(0x80 | opcode.bits(), payload));
                continue;
            }
            let (first, rest) = payload.split_at(payload.len() / 2);
            bytes.extend(of_server(opcode.bits(), first));
            (1..*fragments).for_each(|_| bytes.extend(of_server(0, b"")));
            bytes.extend(of_server(0x80, rest));
        }
        let (mut pieces, mut rest, mut cuts) = (Vec::new(), &bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            pieces.push(piece);
            rest = behind;
        }
        let wanted: Vec<_> = messages.into_iter().map(|(opcode, payload, _)| (opcode, payload)).collect();
        assert_eq!(read(pieces), Ok(wanted));
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(pieces in vec(vec(any::<u8>(), 0..100), 0..10)) {
        let mut decoder = Decoder::default();
        let bytes: usize = pieces.iter().map(Vec::len).sum();
        let mut seen = 0;
        for piece in &pieces {
            if decoder.feed(piece, |_, payload| seen += payload.len()).is_err() {
                break;
            }
        }
        assert!(seen <= bytes);
    }
}
