//! Which file imports which, read from the text of the files, and the circles among them.
//!
//! A path that begins with `crate`, `super` or `self`, or with a module that the file declares, is an arrow to the file that
//! it leads to, whether it stands in a `use` (groups over several lines, too) or in code. Tests, which stand last in a file,
//! draw no arrows. A parent that only declares and re-exports its children draws none either: to be found below it is not
//! to be imported. A name that it re-exports leads on to the child that has it.

use std::collections::{BTreeMap, BTreeSet};

type Module = Vec<String>;

/// A file's text as words, `::` and single characters; without comments, strings and tests.
fn tokens(text: &str) -> Vec<String> {
    let product: Vec<&str> = text.lines().take_while(|l| l.trim() != "#[cfg(test)]").collect();
    let chars: Vec<char> = product.join("\n").chars().collect();
    let mut out = Vec::new();
    let mut i = 0;
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    while i < chars.len() {
        let rest = &chars[i..];
        match rest {
            ['/', '/', ..] => i += rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
            ['\'', '\\', _, '\'', ..] => i += 4,
            ['\'', _, '\'', ..] => i += 3,
            ['"', ..] => {
                i += 1;
                while i < chars.len() && chars[i] != '"' {
                    i += if chars[i] == '\\' { 2 } else { 1 };
                }
                i += 1;
            }
            [':', ':', ..] => {
                out.push("::".to_owned());
                i += 2;
            }
            [c, ..] if is_word(*c) => {
                let length = rest.iter().position(|&c| !is_word(c)).unwrap_or(rest.len());
                out.push(rest[..length].iter().collect());
                i += length;
            }
            [c, ..] => {
                if !c.is_whitespace() {
                    out.push(c.to_string());
                }
                i += 1;
            }
            [] => {}
        }
    }
    out
}

/// The paths of a `use` from its first token after `prefix` on; returns where it ends.
fn use_tree(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<Module>) -> usize {
    let mut path = prefix.to_vec();
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    at = use_tree(tokens, at, &path, found);
                    if tokens.get(at).is_some_and(|t| t == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "::" => at += 1,
            "as" => at += 2,
            "," | "}" | ";" => break,
            word => {
                path.push(word.to_owned());
                at += 1;
            }
        }
    }
    found.push(path);
    at
}

struct File {
    /// The paths that it names, as they are written.
    paths: Vec<Module>,
    /// The modules that it declares.
    children: BTreeSet<String>,
    /// Whether it does nothing but declare and re-export modules.
    is_parent: bool,
}

impl File {
    fn read(text: &str) -> Self {
        let tokens = tokens(text);
        let (mut paths, mut children, mut is_parent) = (Vec::new(), BTreeSet::new(), true);
        let mut at = 0;
        while at < tokens.len() {
            let next = |n: usize| tokens.get(at + n).map_or("", String::as_str);
            match next(0) {
                // Not `impl Trait + use<'_>`.
                "use" if next(1) != "<" => at = use_tree(&tokens, at + 1, &[], &mut paths) + 1,
                "mod" if next(2) == ";" => {
                    children.insert(next(1).to_owned());
                    at += 3;
                }
                "pub" if next(1) == "(" => {
                    while at < tokens.len() && tokens[at] != ")" {
                        at += 1;
                    }
                    at += 1;
                }
                "pub" => at += 1,
                "#" => {
                    while at < tokens.len() && tokens[at] != "]" {
                        at += 1;
                    }
                    at += 1;
                }
                "crate" | "super" | "self" if next(1) == "::" => {
                    let mut path = vec![next(0).to_owned()];
                    at += 1;
                    while tokens.get(at).is_some_and(|t| t == "::") && at + 1 < tokens.len() {
                        path.push(tokens[at + 1].clone());
                        at += 2;
                    }
                    paths.push(path);
                    is_parent = false;
                }
                _ => {
                    is_parent = false;
                    at += 1;
                }
            }
        }
        is_parent &= !children.is_empty();
        Self { paths, children, is_parent }
    }

    /// A path from the crate's root; `None` where it leads out of the crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Module> {
        let (mut from, mut rest) = (module.clone(), path);
        match path.first().map(String::as_str)? {
            "crate" => (from, rest) = (Vec::new(), &path[1..]),
            "self" | "super" => {
                while let Some(first) = rest.first().filter(|w| ["self", "super"].contains(&w.as_str())) {
                    if first == "super" {
                        from.pop();
                    }
                    rest = &rest[1..];
                }
            }
            word if self.children.contains(word) => {}
            _ => return None,
        }
        Some([from, rest.to_vec()].concat())
    }
}

fn module_of(rel: &str) -> Module {
    let path = rel.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Module = path.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

/// The file that an absolute path leads to, through what parents re-export.
fn target(files: &BTreeMap<Module, File>, path: &[String], depth: usize) -> Module {
    let length = (0..=path.len()).rev().find(|&n| files.contains_key(&path[..n])).unwrap_or(0);
    let (module, rest) = (path[..length].to_vec(), &path[length..]);
    let Some(file) = files.get(&module).filter(|f| f.is_parent && depth < 8) else { return module };
    let Some(name) = rest.first() else { return module };
    let exported = file.paths.iter().filter(|p| p.last() == Some(name)).find_map(|p| file.absolute(&module, p));
    exported.map_or(module, |path| target(files, &path, depth + 1))
}

/// Each file's arrows, by their paths.
fn arrows(sources: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let names: BTreeMap<Module, &str> = sources.iter().map(|(rel, _)| (module_of(rel), rel.as_str())).collect();
    let files: BTreeMap<Module, File> = sources.iter().map(|(rel, text)| (module_of(rel), File::read(text))).collect();
    let of = |(module, file): (&Module, &File)| {
        let paths = file.paths.iter().filter(|_| !file.is_parent).filter_map(|p| file.absolute(module, p));
        let to = paths.map(|path| target(&files, &path, 0)).filter(|to| to != module);
        (names[module].to_owned(), to.filter_map(|to| names.get(&to).map(|n| (*n).to_owned())).collect())
    };
    files.iter().map(of).collect()
}

/// The files among these from which arrows lead back to them, each with the ones of them that it imports: none where there
/// is no circle.
pub fn circles(sources: &[(String, String)]) -> Vec<String> {
    let mut arrows = arrows(sources);
    // What imports nothing that is left, or is imported by nothing that is left, is in no circle.
    loop {
        let left: BTreeSet<String> = arrows.keys().cloned().collect();
        let imported: BTreeSet<String> = arrows.values().flatten().cloned().collect();
        for to in arrows.values_mut() {
            to.retain(|t| left.contains(t));
        }
        arrows.retain(|from, to| !to.is_empty() && imported.contains(from));
        if arrows.len() == left.len() {
            break;
        }
    }
    arrows
        .iter()
        .map(|(from, to)| format!("{from} imports {}", to.iter().cloned().collect::<Vec<_>>().join(", ")))
        .collect()
}

#[test]
fn circles_of_imports_are_found_however_they_are_written() {
    let found = |files: &[(&str, &str)]| {
        circles(&files.iter().map(|(rel, text)| ((*rel).to_owned(), (*text).to_owned())).collect::<Vec<_>>()).len()
    };
    let lib = ("src/lib.rs", "pub mod room;");
    let parent = ("src/room/mod.rs", "//! A room.\nmod a;\npub(crate) mod b;\npub use b::{B,\n    Other as C};");
    let b = ("src/room/b.rs", "use super::a::A;\npub struct B;");
    for a in [
        "use super::b::B;",
        "use crate::{\n    error::Error,\n    room::{\n        b::{self, B},\n    },\n};",
        "fn f() -> super::b::B { crate::room::b::new() }",
        "use super::B; // by the parent's re-export",
        "use crate::room::{B as Renamed};",
    ] {
        assert_eq!(found(&[lib, parent, ("src/room/a.rs", a), b]), 2, "{a}");
    }
    for a in [
        "// use super::b::B;",
        "const TEXT: &str = \"crate::room::b::B\";",
        "use std::b::B;",
        "fn f() {}\n#[cfg(test)]\nmod tests {\n    use super::b::B;\n}",
    ] {
        assert_eq!(found(&[lib, parent, ("src/room/a.rs", a), b]), 0, "{a}");
    }
    // A parent that has something of its own is a file like others; a child that needs it makes a circle.
    let child = ("src/room/b.rs", "use super::SIZE;");
    assert_eq!(found(&[("src/room/mod.rs", "mod b;\npub const SIZE: usize = 1;\nuse b::B;"), child]), 2);
    assert_eq!(found(&[("src/room.rs", "mod b;\npub const SIZE: usize = 1;\nfn f() { self::b::g() }"), child]), 2);
    assert_eq!(found(&[("src/room.rs", "mod b;\npub use b::B;"), child]), 0);
    let three = [("src/x.rs", "use crate::y::Y;"), ("src/y.rs", "use crate::z;"), ("src/z.rs", "use crate::x::X;")];
    assert_eq!((found(&three), found(&three[..2])), (3, 0));
}
