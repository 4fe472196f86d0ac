//! The keys as tables of the page `docs/host-toml.md`.

use super::{Absent, Block, Form, Key, Value, blocks, either};
use bedplate_model::size;

/// Every kind of section with its keys, as Markdown.
pub fn page() -> String {
    blocks().into_iter().map(table).collect::<Vec<_>>().join("\n")
}

fn table(block: &Block) -> String {
    let path = if block.path.is_empty() { "(top level)" } else { block.path };
    let places = block.one_of.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let places = match places.len() {
        0 | 1 => String::new(),
        _ => format!("Exactly one of {} stands there.\n\n", places.join(", ")),
    };
    let mut table = format!(
        "## `{path}`\n\n{places}| key | value | default | meaning | honoured | example |\n|---|---|---|---|---|---|\n"
    );
    for key in block.keys {
        let (name, form, place) = (key.name, shown(key.form), key.place.describe());
        let example = Some(key.example).filter(|example| !example.is_empty());
        let example = example.map(|example| format!("`{example}`")).unwrap_or_default();
        let (absent, about) = (absent(block, key), key.about);
        table += &format!("| `{name}` | {form} | {absent} | {about} | {place} | {example} |\n");
    }
    table
}

/// What a value must be, with the values that can stand there.
fn shown(form: Form) -> String {
    let kind = form.describe();
    match form {
        Form::TextOrTable(text, _) => format!("{} or a table", shown(*text)),
        Form::Choice(words) => either(words),
        Form::Integer(least, most) if least == most => format!("{kind}, {least}"),
        Form::Integer(least, most) => format!("{kind} from {least} to {most}"),
        Form::Size(least, u64::MAX) => format!("{kind}; {} or more", size::write(least)),
        Form::Size(least, most) => {
            format!("{kind}; {} to {}", size::write(least), size::write(most))
        }
        _ => kind.to_owned(),
    }
}

/// What is meant where a key is left out.
pub(super) fn absent(block: &Block, key: &Key) -> String {
    let own = match key.absent {
        Absent::Required => "required".to_owned(),
        Absent::Default(value) => value.to_string(),
        Absent::Derived(words) => words.to_owned(),
    };
    let of_kind = |(kind, value): (&str, Value)| format!("; {value} for \"{kind}\"");
    own + &block.of_kinds(key.name).map(of_kind).collect::<String>()
}
