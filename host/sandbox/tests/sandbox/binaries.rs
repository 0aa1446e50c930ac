//! Binaries that no compiler makes: written and changed by hand.

use crate::guests::guest;

/// A component made of a guest, as a tool would make it before the host gets to see it.
pub(crate) fn component(guest_name: &str) -> Vec<u8> {
    let module = guest(guest_name);
    let mut encoder = wit_component::ComponentEncoder::default()
        .module(&module)
        .unwrap();
    encoder.encode().unwrap()
}

/// The same binary with another text of the same length for each occurrence of one.
pub(crate) fn replaced(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut found = false;
    for at in 0..=bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            found = true;
        }
    }
    assert!(found, "{from} does not occur");
    bytes
}

/// What a module of [`module`] runs when it is instantiated.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    Nothing,
    EndlessLoop,
    Trap,
}

/// A core module that is a plugin by its exports: its functions answer the address 0.
pub(crate) fn module(start: Start, memory_pages: u32) -> Vec<u8> {
    const I32: u8 = 0x7f;
    let types: [(&[u8], &[u8]); 4] = [
        (&[], &[]),
        (&[], &[I32]),
        (&[I32], &[I32]),
        (&[I32; 4], &[I32]),
    ];
    let types = types.map(|(takes, gives)| [&[0x60], &*vector(takes), &*vector(gives)].concat());
    let exports = [
        ("memory", 2, 0),
        ("carillon:plugin/handler@0.1.0#describe", 0, 1),
        ("carillon:plugin/handler@0.1.0#handle", 0, 2),
        ("cabi_realloc", 0, 3),
    ];
    let exports = exports.map(|(name, kind, index)| [&*text(name), &[kind, index]].concat());
    let run: &[u8] = match start {
        Start::Nothing => &[0x0b],
        // loop: br 0
        Start::EndlessLoop => &[0x03, 0x40, 0x0c, 0x00, 0x0b, 0x0b],
        Start::Trap => &[0x00, 0x0b],
    };
    let zero: &[u8] = &[0x41, 0x00, 0x0b];
    let code = [run, zero, zero, zero].map(|body| vector(&[&[0x00], body].concat()));
    let sections = [
        section(1, &several(&types)),
        section(3, &vector(&[0, 1, 2, 3])),
        section(5, &several(&[[&[0x00], &*number(memory_pages)].concat()])),
        section(7, &several(&exports)),
        section(8, &[0]),
        section(10, &several(&code)),
        component_types(&guest("old-interface")),
    ];
    [b"\0asm\x01\0\0\0".as_slice(), &sections.concat()].concat()
}

/// The custom sections in which a module says which world it is made for.
fn component_types(module: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    let mut at = 8;
    while at < module.len() {
        let (size, body) = read_number(module, at + 1);
        let end = body + size;
        if module[at] == 0 && module[body + 1..].starts_with(b"component-type") {
            types.extend(&module[at..end]);
        }
        at = end;
    }
    assert!(!types.is_empty());
    types
}

pub(crate) fn section(id: u8, body: &[u8]) -> Vec<u8> {
    [&[id], &*vector(body)].concat()
}

pub(crate) fn several(items: &[Vec<u8>]) -> Vec<u8> {
    [number(u32::try_from(items.len()).unwrap()), items.concat()].concat()
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    vector(text.as_bytes())
}

pub(crate) fn vector(bytes: &[u8]) -> Vec<u8> {
    [&*number(u32::try_from(bytes.len()).unwrap()), bytes].concat()
}

/// LEB128 (Core Specification, 5.2.2).
pub(crate) fn number(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A number and where it ends.
fn read_number(bytes: &[u8], mut at: usize) -> (usize, usize) {
    let mut value = 0;
    let mut shift = 0;
    loop {
        value |= usize::from(bytes[at] & 0x7f) << shift;
        at += 1;
        if bytes[at - 1] & 0x80 == 0 {
            return (value, at);
        }
        shift += 7;
    }
}
