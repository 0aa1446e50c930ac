//! A component made for a later minor version of the interface.
#![cfg(target_arch = "wasm32")]

#[allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated code"
)]
mod newer {
    wit_bindgen::generate!({
        inline: "
            package carillon:plugin@0.2.0;
            interface handler {
                describe: func() -> string;
                handle: func(event: string) -> list<string>;
            }
            world plugin {
                export handler;
            }
        ",
    });

    use exports::carillon::plugin::handler::Guest;

    struct Newer;

    impl Guest for Newer {
        fn describe() -> String {
            "newer-interface".to_owned()
        }

        fn handle(event: String) -> Vec<String> {
            vec![event]
        }
    }

    export!(Newer);
}
