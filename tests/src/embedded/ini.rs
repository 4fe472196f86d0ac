//! Files of systemd (systemd.syntax(7)), as far as ours use its language.

/// The values of a file in order: section, key, value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ini(Vec<(String, String, String)>);

impl Ini {
    /// Reads a text.
    pub fn parse(text: &str) -> Self {
        let mut section = String::new();
        let mut values = Vec::new();
        for line in text.lines().map(str::trim) {
            let header = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            if let Some(name) = header {
                name.clone_into(&mut section);
            } else if let Some((key, value)) = line.split_once('=')
                && !line.starts_with(['#', ';'])
            {
                values.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
            }
        }
        Self(values)
    }

    /// All values of a key.
    pub fn all<'a>(&'a self, section: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
        let of = move |(at, name, _): &&(String, String, String)| at == section && name == key;
        self.0.iter().filter(of).map(|(_, _, value)| value.as_str())
    }

    /// The value that counts of a key that has one.
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        let of = |(at, name, _): &&(String, String, String)| at == section && name == key;
        self.0.iter().rev().find(of).map(|(_, _, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub fn is_on(&self, section: &str, key: &str) -> bool {
        matches!(self.last(section, key), Some("yes" | "y" | "true" | "on" | "1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_their_sections_and_the_last_one_counts() {
        let ini = Ini::parse("# A=0\n[One]\nA = 1\nA=2=3\n;A=4\n\n[Two]\nA=5\nB=yes\n");
        assert_eq!(ini.all("One", "A").collect::<Vec<_>>(), ["1", "2=3"]);
        assert_eq!((ini.last("One", "A"), ini.last("Two", "A")), (Some("2=3"), Some("5")));
        assert!(ini.is_on("Two", "B") && !ini.is_on("One", "B"));
    }
}
