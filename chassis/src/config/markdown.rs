//! The table of variables as Markdown, for people.
//!
//! Printed from the tables alone: the environment is not read, so the text is the same everywhere
//! and a test can hold a committed copy equal to it.

use std::fmt::Write;

use super::{CONFIG_FILE, ENVIRONMENT, Environment, Fallback, Place, Section, Var};

/// The document: `intro`, then one table per section; `process` is who reads the variables.
#[must_use]
pub fn render(process: &str, intro: &str, sections: &[Section]) -> String {
    let mut text = format!("{intro}\n");
    for section in sections {
        text.push_str(&format!("\n## {}\n\n", section.title));
        text.push_str(
            "| variable | read by | required | takes | default in development \
             | default in production | set in development | set in production | what it does |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|---|---|\n");
        for var in section.variables {
            row(&mut text, process, var);
        }
    }
    text
}

fn row(text: &mut String, process: &str, var: &Var) {
    let name = if var.secret {
        format!("`{}` or `{}`", var.name, var.file_name())
    } else {
        format!("`{}`", var.name)
    };
    let required = match var.fallback {
        Fallback::Required { .. } => "in production",
        _ if var.name == ENVIRONMENT.name => "in production",
        _ => "no",
    };
    let mut help = var.help.to_owned();
    if let Some(later) = var.later {
        help.push_str(&format!(" **Not yet**: read and validated now, used later; {later}."));
    }
    let set_in_development = match (var.fallback, var.place()) {
        (Fallback::Required { .. }, _) => "nowhere: made at the first start",
        (_, Place::Secret) => "shell, when needed",
        _ if var.name == CONFIG_FILE.name => "shell, when needed",
        _ => "shell or `CONFIG_FILE`, when needed",
    };
    let set_in_production = match var.place() {
        Place::Environment => "the deployment's environment",
        Place::Mount => "the deployment's environment, the path of a mount",
        Place::Secret => "secret store, mounted, named by the `_FILE` form",
    };
    writeln!(
        text,
        "| {name} | {process} | {required} | {} | {} | {} | {set_in_development} \
         | {set_in_production} | {} |",
        cell(&var.kind.takes()),
        default(var, Environment::Development),
        default(var, Environment::Production),
        cell(&help),
    )
    .expect("writing to a String cannot fail");
}

fn default(var: &Var, environment: Environment) -> String {
    if (var.name, environment) == (ENVIRONMENT.name, Environment::Production) {
        // What makes it production is that this is set.
        return "none".to_owned();
    }
    match (var.fallback, environment) {
        (Fallback::Derived(how), _) => cell(how),
        (Fallback::DerivedEach { development, .. }, Environment::Development) => cell(development),
        (Fallback::DerivedEach { production, .. }, Environment::Production) => cell(production),
        (Fallback::Required { development }, Environment::Development) => cell(development),
        (Fallback::Required { .. }, Environment::Production) => "none".to_owned(),
        (fallback, _) => match fallback.text(environment) {
            // A list without entries.
            Some("") => "none".to_owned(),
            Some(value) => format!("`{}`", cell(value)),
            None => "unset".to_owned(),
        },
    }
}

/// A pipe would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::super::kind::Rule;
    use super::*;

    static KEY: Var = Var::new(
        "KEY",
        Kind::Choice(&["a", "b"]),
        Fallback::Required { development: "made up" },
        "A key | pipe.",
    )
    .secret()
    .later("nothing reads it");

    static LIST: Var = Var::new(
        "LIST",
        Kind::List(Rule { takes: "a word", accepts: |_| true, bad: "" }),
        Fallback::Each { development: "*", production: "" },
        "Words.",
    );

    static RATE: Var = Var::new(
        "RATE",
        Kind::Count { min: 0, max: 9 },
        Fallback::DerivedEach { development: "`0`", production: "`9`, or `0` at night" },
        "A rate.",
    );

    static SECTIONS: &[Section] =
        &[Section { title: "One", variables: &[&KEY, &ENVIRONMENT, &LIST, &RATE] }];

    #[test]
    fn a_row_says_where_a_secret_belongs_and_what_is_not_yet_done() {
        let text = render("chat", "# Title", SECTIONS);
        assert!(text.starts_with("# Title\n\n## One\n\n| variable"), "{text}");
        assert!(text.contains("| `KEY` or `KEY_FILE` | chat | in production | a or b | made up"));
        assert!(text.contains("A key \\| pipe. **Not yet**: read and validated now"), "{text}");
    }

    #[test]
    fn the_default_of_each_environment_stands_in_its_own_column() {
        let text = render("chat", "# Title", SECTIONS);
        let environment = "in production | development or production | `development` | none |";
        assert!(text.contains(environment), "{text}");
        assert!(text.contains("each a word | `*` | none |"), "{text}");
        assert!(text.contains("| `0` | `9`, or `0` at night |"), "{text}");
    }
}
