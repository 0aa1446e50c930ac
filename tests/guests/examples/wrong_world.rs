//! A component of another world: it adds numbers.
#![cfg(target_arch = "wasm32")]

#[allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated code"
)]
mod calculator {
    wit_bindgen::generate!({
        inline: "
            package guests:calculator;
            world calculator {
                export add: func(left: s32, right: s32) -> s32;
            }
        ",
    });

    struct Calculator;

    impl Guest for Calculator {
        fn add(left: i32, right: i32) -> i32 {
            left.wrapping_add(right)
        }
    }

    export!(Calculator);
}
