//! Plugins made by hand: components with the imports that a test names, and what they do with them.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, TypeDefKind, WorldId, WorldItem};

use crate::binaries::{number, section, several, text, vector};

/// All interfaces of WASI 0.2.12 that are offered.
pub(crate) const WASI: &str = include_str!("../wit/wasi-0.2.12.wit");

/// A step of a function.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// Puts a number on the stack.
    Number(i32),
    /// Calls a function of an interface.
    Call(&'static str, &'static str),
    Drop,
    Trap,
    /// Writes to `stdout` or `stderr` of WASI 0.2.12.
    Print(&'static str, &'static str),
}

/// A plugin with the name `made`, which subscribes to everything and answers nothing.
pub(crate) struct Made {
    /// Packages in WIT, beside those of WASI 0.2.12.
    pub(crate) packages: String,
    /// The interfaces that it imports.
    pub(crate) imports: Vec<String>,
    pub(crate) memory_pages: u32,
    pub(crate) at_start: Vec<Step>,
    pub(crate) in_describe: Vec<Step>,
    pub(crate) in_handle: Vec<Step>,
}

/// Where things are in its memory: zeroes, which answer `handle` and say that there are no actions …
const NOTHING: i32 = 0;
/// … what it says of itself …
const DESCRIPTION: i32 = 64;
/// … room for what it gets from the host …
const RESULT: i32 = 1_024;
const GIVEN: i32 = 2_048;
/// … and what it prints.
const TEXTS: i32 = 32_768;

/// A function that it imports, by its interface and name.
struct Import {
    interface: String,
    name: String,
    takes: Vec<u8>,
    gives: Vec<u8>,
}

impl Made {
    /// It imports these interfaces of WASI 0.2.12, and prints if it is told to.
    pub(crate) fn with_wasi(interfaces: &[&str]) -> Self {
        Self::with(interfaces.iter().map(|name| format!("{name}@0.2.12")))
    }

    /// It imports one interface of a package of its own.
    pub(crate) fn with_package(package: &str, interface: &str, functions: &str) -> Self {
        let (name, version) = package.split_once('@').unwrap();
        Self {
            packages: format!("package {package} {{ interface {interface} {{ {functions} }} }}"),
            ..Self::with([format!("{name}/{interface}@{version}")])
        }
    }

    pub(crate) fn with(imports: impl IntoIterator<Item = String>) -> Self {
        Self {
            packages: String::new(),
            imports: imports.into_iter().collect(),
            memory_pages: 1,
            at_start: Vec::new(),
            in_describe: Vec::new(),
            in_handle: Vec::new(),
        }
    }

    /// The component.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (resolve, world) = self.world();
        let mut module = self.module(&imports(&resolve, world));
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        let mut encoder = ComponentEncoder::default()
            .merge_imports_based_on_semver(false)
            .module(&module)
            .unwrap();
        encoder.encode().unwrap()
    }

    fn world(&self) -> (Resolve, WorldId) {
        let mut resolve = Resolve::default();
        let interface =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/carillon-plugin-0.1.0");
        resolve.push_dir(interface).unwrap();
        resolve.push_str("wasi.wit", WASI).unwrap();
        let imports = self.imports.iter().map(|name| format!("import {name};\n"));
        let imports: String = imports.collect();
        let made = format!(
            "package tests:made;\nworld made {{\n{imports}export carillon:plugin/handler@0.1.0;\n}}\n{}",
            self.packages
        );
        let package = resolve.push_str("made.wit", &made).unwrap();
        let world = resolve.select_world(&[package], Some("made")).unwrap();
        (resolve, world)
    }

    fn module(&self, imports: &[Import]) -> Vec<u8> {
        const I32: u8 = 0x7f;
        let own: [(&[u8], &[u8]); 4] = [
            (&[], &[]),
            (&[], &[I32]),
            (&[I32], &[I32]),
            (&[I32; 4], &[I32]),
        ];
        let mut types: Vec<Vec<u8>> = own
            .iter()
            .map(|(takes, gives)| function(takes, gives))
            .collect();
        types.extend(
            imports
                .iter()
                .map(|import| function(&import.takes, &import.gives)),
        );
        let imported: Vec<Vec<u8>> = (own.len()..)
            .zip(imports)
            .map(|(kind, import)| {
                let kind = number(u32::try_from(kind).unwrap());
                [
                    &*text(&import.interface),
                    &*text(&import.name),
                    &[0],
                    &*kind,
                ]
                .concat()
            })
            .collect();
        let exports = [
            "_initialize",
            "carillon:plugin/handler@0.1.0#describe",
            "carillon:plugin/handler@0.1.0#handle",
            "cabi_realloc",
        ];
        let mut exports: Vec<Vec<u8>> = (imports.len()..)
            .zip(exports)
            .map(|(index, name)| {
                [&*text(name), &[0], &*number(u32::try_from(index).unwrap())].concat()
            })
            .collect();
        exports.push([&*text("memory"), &[2, 0]].concat());
        let mut texts = String::new();
        let mut body = |steps: &[Step], answer: Option<i32>| {
            let mut code = vec![0];
            for step in steps.iter().copied().chain(answer.map(Step::Number)) {
                step.encode(imports, &mut texts, &mut code);
            }
            code.push(0x0b);
            vector(&code)
        };
        let code = [
            body(&self.at_start, None),
            body(&self.in_describe, Some(DESCRIPTION)),
            body(&self.in_handle, Some(NOTHING)),
            body(&[], Some(GIVEN)),
        ];
        let data = [
            data(DESCRIPTION, &description()),
            data(TEXTS, texts.as_bytes()),
        ];
        let sections = [
            section(1, &several(&types)),
            section(2, &several(&imported)),
            section(3, &vector(&[0, 1, 2, 3])),
            section(
                5,
                &several(&[[&[0x00], &*number(self.memory_pages)].concat()]),
            ),
            section(7, &several(&exports)),
            section(10, &several(&code)),
            section(11, &several(&data)),
        ];
        [b"\0asm\x01\0\0\0".as_slice(), &sections.concat()].concat()
    }
}

impl Step {
    fn encode(self, imports: &[Import], texts: &mut String, code: &mut Vec<u8>) {
        match self {
            Self::Number(value) => {
                code.push(0x41);
                code.extend(signed(value));
            }
            Self::Call(interface, name) => {
                let index = imports
                    .iter()
                    .position(|import| import.interface == interface && import.name == name)
                    .unwrap_or_else(|| panic!("{name} of {interface} is not imported"));
                code.push(0x10);
                code.extend(number(u32::try_from(index).unwrap()));
            }
            Self::Drop => code.push(0x1a),
            Self::Trap => code.push(0x00),
            Self::Print(stream, line) => {
                let at = TEXTS + i32::try_from(texts.len()).unwrap();
                texts.push_str(line);
                let (interface, get) = match stream {
                    "stdout" => ("wasi:cli/stdout@0.2.12", "get-stdout"),
                    _ => ("wasi:cli/stderr@0.2.12", "get-stderr"),
                };
                let write = "[method]output-stream.blocking-write-and-flush";
                for step in [
                    Self::Call(interface, get),
                    Self::Number(at),
                    Self::Number(i32::try_from(line.len()).unwrap()),
                    Self::Number(RESULT),
                    Self::Call("wasi:io/streams@0.2.12", write),
                ] {
                    step.encode(imports, texts, code);
                }
            }
        }
    }
}

/// Every function of the interfaces that a world imports.
fn imports(resolve: &Resolve, world: WorldId) -> Vec<Import> {
    let mut imports = Vec::new();
    for (key, item) in &resolve.worlds[world].imports {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let interface = &resolve.interfaces[*id];
        let mut import = |name: String, takes: Vec<u8>, gives: Vec<u8>| {
            imports.push(Import {
                interface: resolve.name_world_key(key),
                name,
                takes,
                gives,
            });
        };
        for (name, function) in &interface.functions {
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            import(
                name.clone(),
                codes(&signature.params),
                codes(&signature.results),
            );
        }
        for (name, kind) in &interface.types {
            if matches!(resolve.types[*kind].kind, TypeDefKind::Resource) {
                import(format!("[resource-drop]{name}"), vec![0x7f], Vec::new());
            }
        }
    }
    imports
}

fn codes(types: &[WasmType]) -> Vec<u8> {
    let code = |kind: &WasmType| match kind {
        WasmType::I64 | WasmType::PointerOrI64 => 0x7e,
        WasmType::F32 => 0x7d,
        WasmType::F64 => 0x7c,
        WasmType::I32 | WasmType::Pointer | WasmType::Length => 0x7f,
    };
    types.iter().map(code).collect()
}

fn function(takes: &[u8], gives: &[u8]) -> Vec<u8> {
    [&[0x60], &*vector(takes), &*vector(gives)].concat()
}

/// Bytes that are in the memory from the beginning.
fn data(at: i32, bytes: &[u8]) -> Vec<u8> {
    [&[0x00, 0x41], &*signed(at), &[0x0b], &*vector(bytes)].concat()
}

/// The record `description`, and behind it the texts that it names.
fn description() -> Vec<u8> {
    const TEXTS: [&str; 4] = ["made", "0.1.0", "Made by hand.", "*"];
    // Three texts, a list of one text, and an empty list; then the text of that list.
    let (lists, mut at) = (40, DESCRIPTION + 48);
    let mut words = Vec::new();
    let mut texts = String::new();
    for (place, text) in TEXTS.into_iter().enumerate() {
        if place == 3 {
            words.extend([DESCRIPTION + lists, 1, 0, 0]);
        }
        let length = i32::try_from(text.len()).unwrap();
        words.extend([at, length]);
        at += length;
        texts.push_str(text);
    }
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(texts.as_bytes());
    bytes
}

/// Signed LEB128 (Core Specification, 5.2.2) of a number that is not negative.
fn signed(value: i32) -> Vec<u8> {
    let mut bytes = number(u32::try_from(value).unwrap());
    if let Some(last) = bytes.last_mut().filter(|last| **last & 0x40 != 0) {
        // Its sign bit is set: one more byte says that it is none.
        *last |= 0x80;
        bytes.push(0);
    }
    bytes
}
