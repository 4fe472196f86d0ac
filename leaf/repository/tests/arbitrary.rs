//! Foreign text: whatever stands in a repository's files, nothing panics and nothing is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use bedplate_model::host::Platform;
use bedplate_repository::flake::Flake;
use bedplate_repository::flake::sources::Sources;
use bedplate_repository::input::Input;
use bedplate_repository::{lock, shipped};
use proptest::prelude::*;

/// Whether `text` comes out when something is left out of `longer`.
fn is_within(text: &str, longer: &str) -> bool {
    let mut rest = longer.chars();
    text.chars().all(|wanted| rest.any(|found| found == wanted))
}

/// Everything that is asked of a flake.
fn ask(text: &str) {
    ask_for(text, &[Platform::Embedded, Platform::Nixos]);
}

fn ask_for(text: &str, platforms: &[Platform]) {
    let Ok(flake) = Flake::parse(text) else { return };
    let _ = (flake.hosts(&Sources::default()), flake.input(), flake.has_nixpkgs());
    for platform in platforms.iter().copied() {
        let address = (platform == Platform::Nixos).then_some("path:/srv/bedplate");
        let Ok(lacking) = Input::lacking(&flake, platform, address) else {
            continue;
        };
        let Ok(edited) = flake.with_host("attic", "nix/hosts", lacking.as_ref()) else { continue };
        assert!(is_within(text, &edited.text), "{text}\n{}", edited.text);
        let again = Flake::parse(&edited.text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            Input::lacking(&again, platform, None).unwrap(),
            None,
            "{platform:?}: {}",
            edited.text
        );
    }
}

/// Pieces that flakes are made of, put together in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ";",
        ":",
        "=",
        ".",
        ",",
        "@",
        "...",
        "//",
        "\"",
        "''",
        "${",
        " ",
        "\n",
        "# c\n",
        "/* c */",
        "inputs",
        "outputs",
        "nixosConfigurations",
        "bedplate",
        "url",
        "self",
        "blueprint",
        "prefix",
        "let",
        "in",
        "rec",
        "with",
        "inherit",
        "a",
        "./a",
        "\\",
        "é",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Flakes with holes that are filled with small expressions.
fn flakes() -> impl Strategy<Value = String> {
    let parameter = prop::sample::select(vec![
        "inputs",
        "{ ... }",
        "{ self }",
        "{ self, ... }@i",
        "i@{ self, ... }",
        "{ bedplate }",
        "{ }",
    ]);
    let value = prop::sample::select(vec![
        "{ }",
        "{ a = 1; }",
        "{ a = 1; # c\n }",
        "f ./x",
        "x // y",
        "let y = 1; in y",
        "if a then b else c",
        "inputs.blueprint { prefix = \"n\"; }",
        "rec { }",
        "{ \"${x}\" = 1; }",
        "[ ]",
        "a.b.c",
        "x: x",
    ]);
    let inputs = prop::sample::select(vec![
        "",
        "inputs = { };",
        "inputs.a.url = \"b\";",
        "inputs = import ./x;",
        "description = \"''\";",
        "inputs = {\n  a = { };\n};\n",
        "inputs.bedplate.url = \"x\";",
    ]);
    (inputs, parameter, value.clone(), value).prop_map(|(inputs, parameter, first, second)| {
        format!("{{ {inputs} outputs = {parameter}: {{ nixosConfigurations = {first}; }} // ({second}); }}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,200}") {
        ask(&text);
    }

    #[test]
    fn any_pieces_are_read_without_panic(text in pieces()) {
        ask(&text);
    }

    #[test]
    fn nothing_of_a_flake_is_lost(text in flakes()) {
        ask(&text);
    }

    #[test]
    fn any_lock_is_read_without_panic(text in "\\PC{0,200}") {
        let _ = lock::with_platform(&text);
    }
}

#[test]
fn t13_a_deeply_nested_flake_is_refused_or_left_alone() {
    let pairs = [
        ("(", ")"),
        ("[", "]"),
        ("{ a = ", "; }"),
        ("\"${", "}\""),
        ("x: ", ""),
        ("{ x }: ", ""),
        ("f ", ""),
        ("a // ", ""),
        ("a ++ ", ""),
        ("a + ", ""),
        ("!", ""),
        ("- ", ""),
        ("a.b or ", ""),
        ("a ? b -> ", ""),
        ("if a then b else ", ""),
        ("let a = 1; in ", ""),
        ("with a; ", ""),
        ("assert a; ", ""),
        ("[ x: ", "]"),
        ("(a // ", ")"),
    ];
    for (open, close) in pairs {
        for times in [150, 600, 1900, 50_000] {
            let nested = format!("{}1{}", open.repeat(times), close.repeat(times));
            for outputs in ["X", "inputs: X", "inputs: { nixosConfigurations = X; }"] {
                let text = format!("{{ outputs = {}; }}", outputs.replace('X', &nested));
                ask_for(&text, &[Platform::Embedded]);
            }
        }
    }
    let nested = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    assert!(lock::with_platform(&nested).is_err());
}

#[test]
fn the_template_itself_is_edited_by_nobody() {
    let nixos = shipped::nixos_flake("path:/srv/bedplate");
    for (text, platform) in [(shipped::FLAKE, Platform::Embedded), (&nixos, Platform::Nixos)] {
        let flake = Flake::parse(text).unwrap();
        assert_eq!(Input::lacking(&flake, platform, None).unwrap(), None);
        assert_eq!(flake.with_host("attic", "nix/hosts", None).unwrap().text, text);
    }
}
