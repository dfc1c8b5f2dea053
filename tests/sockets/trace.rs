//! Traces: what the cases have printed.

use std::collections::BTreeMap;

/// The lines of each case, by its title.
pub(crate) type Traces = BTreeMap<String, Vec<String>>;

/// Reads the blocks `== title` of a program's output.
pub(crate) fn parse(output: &str) -> Traces {
    let mut traces = Traces::new();
    let mut title = None;
    for line in output.lines() {
        if let Some(next) = line.strip_prefix("== ") {
            title = Some(next.to_owned());
            let twice = traces.insert(next.to_owned(), Vec::new());
            assert!(twice.is_none(), "two cases have the title {next}");
        } else {
            let title = title.as_ref().expect("a title comes first");
            traces
                .entry(title.clone())
                .or_default()
                .push(line.to_owned());
        }
    }
    traces
}

/// Both traces of a case side by side, those lines that differ.
pub(crate) fn side_by_side(kernel: &[String], lan: &[String]) -> String {
    let none = String::from("(nothing)");
    let lines = (0..kernel.len().max(lan.len())).filter_map(|index| {
        let (ours, theirs) = (lan.get(index), kernel.get(index));
        (ours != theirs).then(|| {
            format!(
                "    kernel: {}\n    LAN:    {}",
                theirs.unwrap_or(&none),
                ours.unwrap_or(&none)
            )
        })
    });
    lines.collect::<Vec<_>>().join("\n")
}
