//! Where a text says something, whatever its case.

/// Characters that are shown before and behind what was found.
const BEFORE: usize = 30;
const BEHIND: usize = 60;

/// A line that says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which line, from 1 on.
    pub line: usize,
    /// What it says around there.
    pub snippet: String,
}

/// The lines of a text with `wanted` in them, upper and lower case being the same.
#[must_use]
pub fn search(text: &str, wanted: &str) -> Vec<Match> {
    let wanted: Vec<char> = wanted.chars().flat_map(char::to_lowercase).collect();
    let lines = text.lines().enumerate();
    lines.filter_map(|(at, line)| Some(Match { line: at + 1, snippet: snippet(line, &wanted)? })).collect()
}

/// What a line says around the first place that has it.
fn snippet(line: &str, wanted: &[char]) -> Option<String> {
    let chars: Vec<char> = line.chars().collect();
    // A character may have several in lower case, so each knows whose it is.
    let lower: Vec<(usize, char)> = chars
        .iter()
        .enumerate()
        .flat_map(|(at, char)| char.to_lowercase().map(move |lower| (at, lower)))
        .collect();
    let same = |window: &[(usize, char)]| window.iter().map(|(_, char)| char).eq(wanted.iter());
    let found = lower.windows(wanted.len().max(1)).find(|window| same(window))?;
    let (first, last) = (found.first()?.0, found.last()?.0);
    let (start, end) = (first.saturating_sub(BEFORE), (last + 1 + BEHIND).min(chars.len()));
    let shown: String = chars.get(start..end)?.iter().collect();
    let (before, behind) = (if start > 0 { "…" } else { "" }, if end < chars.len() { "…" } else { "" });
    Some(format!("{before}{}{behind}", shown.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_nothing_and_long_lines_are_cut() {
        let found = |text: &str, wanted: &str| search(text, wanted);
        assert_eq!(
            found("# List\n\nBuy MILK today\nmilk\n", "Milk"),
            [Match { line: 3, snippet: "Buy MILK today".into() }, Match { line: 4, snippet: "milk".into() }]
        );
        assert_eq!(found("ÄPFEL", "äpfel").len(), 1);
        assert_eq!(found("İstanbul ist weit", "weit").len(), 1);
        assert!(found("milk", "bread").is_empty() && found("", "x").is_empty() && found("x", "").is_empty());
        let long = format!("{}needle{}", "a ".repeat(100), " b".repeat(100));
        let [Match { snippet, .. }] = &found(&long, "NEEDLE")[..] else { panic!("not found once") };
        assert!(
            snippet.starts_with('…') && snippet.ends_with('…') && snippet.contains("needle"),
            "{snippet}"
        );
        assert!(snippet.chars().count() <= BEFORE + BEHIND + 8);
    }
}
