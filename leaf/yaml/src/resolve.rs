//! What aliases stand for, and merge keys (`<<`, <https://yaml.org/type/merge.html>).

use std::collections::{BTreeMap, BTreeSet};

use crate::{Content, DEPTH, Node, ScalarStyle, YamlError};

/// More nodes than this no file of machines gives; an alias of aliases of aliases soon would.
const MOST: usize = 200_000;

impl Node {
    /// The tree with what each alias stands for in its place, and with the keys that `<<` names in the
    /// maps that name them. What stands in a map itself counts before what is merged into it, and of
    /// several that are merged the first.
    ///
    /// # Errors
    ///
    /// When an alias stands in what it stands for, `<<` names no map, or the tree would be too large.
    pub fn resolved(&self) -> Result<Self, YamlError> {
        let mut anchors = BTreeMap::new();
        find(self, &mut anchors);
        Resolver { anchors, open: Vec::new(), made: 0 }.node(self, 0)
    }
}

fn find<'n>(node: &'n Node, anchors: &mut BTreeMap<usize, &'n Node>) {
    if node.anchor > 0 {
        anchors.insert(node.anchor, node);
    }
    node.items().iter().for_each(|item| find(item, anchors));
    for (key, value) in node.entries() {
        find(key, anchors);
        find(value, anchors);
    }
}

struct Resolver<'n> {
    anchors: BTreeMap<usize, &'n Node>,
    /// The anchors of what is being made.
    open: Vec<usize>,
    made: usize,
}

impl Resolver<'_> {
    fn node(&mut self, node: &Node, depth: usize) -> Result<Node, YamlError> {
        self.made += 1;
        if self.made > MOST || depth > DEPTH {
            return Err(node.wrong("its aliases make it too large"));
        }
        if let Content::Alias(anchor) = node.content {
            return match self.anchors.get(&anchor).copied() {
                Some(_) if self.open.contains(&anchor) => {
                    Err(node.wrong("this alias stands in what it stands for"))
                }
                Some(meant) => self.node(meant, depth + 1),
                None => Err(node.wrong("there is nothing that this alias stands for")),
            };
        }
        self.open.push(node.anchor);
        let content = self.content(node, depth + 1)?;
        self.open.pop();
        let (line, column, last_line) = (node.line, node.column, node.last_line);
        Ok(Node { line, column, last_line, content, anchor: 0, tag: node.tag.clone() })
    }

    fn content(&mut self, node: &Node, depth: usize) -> Result<Content, YamlError> {
        Ok(match &node.content {
            Content::List(items) => {
                let items = items.iter().map(|item| self.node(item, depth));
                Content::List(items.collect::<Result<_, _>>()?)
            }
            Content::Map(entries) => Content::Map(self.map(entries, depth)?),
            other => other.clone(),
        })
    }

    fn map(
        &mut self,
        entries: &[(Node, Node)],
        depth: usize,
    ) -> Result<Vec<(Node, Node)>, YamlError> {
        let (mut own, mut merged) = (Vec::new(), Vec::new());
        for (key, value) in entries {
            let value = self.node(value, depth)?;
            match is_merge(key) {
                true => merged.extend(maps(key, value)?),
                false => own.push((self.node(key, depth)?, value)),
            }
        }
        let names = own.iter().filter_map(|(key, _)| key.text());
        let mut names: BTreeSet<String> = names.map(str::to_owned).collect();
        for (key, value) in merged {
            let is_new = key.text().is_none_or(|name| names.insert(name.to_owned()));
            if is_new {
                own.push((key, value));
            }
        }
        Ok(own)
    }
}

fn is_merge(key: &Node) -> bool {
    matches!(&key.content, Content::Scalar { text, style: ScalarStyle::Plain, tagged: false }
        if text == "<<")
}

/// The entries of the map that is merged, or of each map of a list.
fn maps(key: &Node, value: Node) -> Result<Vec<(Node, Node)>, YamlError> {
    let no_map = || key.wrong("`<<` wants a map, or a list of maps");
    match value.content {
        Content::Map(entries) => Ok(entries),
        Content::List(items) => {
            let mut all = Vec::new();
            for item in items {
                let Content::Map(entries) = item.content else { return Err(no_map()) };
                all.extend(entries);
            }
            Ok(all)
        }
        _ => Err(no_map()),
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;

    fn text_at(text: &str, path: &[&str]) -> Option<String> {
        let root = parse(text).unwrap().resolved().unwrap();
        let found = path.iter().try_fold(&root, |node, key| node.get(key));
        found.and_then(|node| node.text()).map(str::to_owned)
    }

    #[test]
    fn what_is_merged_counts_after_what_stands_there() {
        let text = "a: &a { x: 1, y: 2 }\nb: &b { y: 3, z: 4 }\nc:\n  y: 5\n  <<: [*a, *b]\n\
                    d: { <<: *a }\ne: { <<: [*b, *a] }\nf: { \"<<\": 1 }\n";
        for (path, wanted) in [
            (["c", "x"], "1"),
            (["c", "y"], "5"),
            (["c", "z"], "4"),
            (["d", "y"], "2"),
            (["e", "y"], "3"),
            (["f", "<<"], "1"),
        ] {
            assert_eq!(text_at(text, &path).as_deref(), Some(wanted), "{path:?}");
        }
    }

    #[test]
    fn an_alias_stands_for_what_was_named_last_before_it() {
        let text = "a: &x 1\nb: *x\nc: &x 2\nd: *x\n";
        assert_eq!(text_at(text, &["b"]).as_deref(), Some("1"));
        assert_eq!(text_at(text, &["d"]).as_deref(), Some("2"));
    }

    #[test]
    fn t13_aliases_without_end_are_refused_with_their_place() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let all = vec![format!("*a{}", level - 1); 9].join(", ");
            laughs += &format!("a{level}: &a{level} [{all}]\n");
        }
        for text in [laughs.as_str(), "a: &a { b: *a }", "a: { <<: 1 }", "a: { <<: [1] }"] {
            let error = parse(text).unwrap().resolved().unwrap_err();
            assert!(error.line >= 1 && error.column > 1, "{error}");
        }
    }
}
