//! The picture: a group of bars for each shape, each as a share of the best in its group.

use std::fmt::Write;

const WIDTH: usize = 720;
const NAME: usize = 190;
const BAR: usize = 16;
const GAP: usize = 26;
const COLOURS: [&str; 6] = ["#0f6e84", "#5aa7b8", "#c9a227", "#a65e2e", "#7a6f9b", "#888888"];

/// An SVG of the rates of each contestant, one for each shape.
pub(crate) fn draw(shapes: &[String], bars: &[(&str, &[f64])]) -> String {
    let height = shapes.len() * (bars.len() * BAR + GAP) + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    );
    let mut y = 0;
    for (place, shape) in shapes.iter().enumerate() {
        let rate = |rates: &[f64]| rates.get(place).copied().unwrap_or_default();
        let best = bars.iter().map(|(_, rates)| rate(rates)).fold(1.0, f64::max);
        y += GAP - 8;
        let _ = write!(
            svg,
            "<text x=\"4\" y=\"{y}\" font-weight=\"bold\">{shape}: deliveries for each CPU-second</text>"
        );
        y += 8;
        for ((name, rates), colour) in bars.iter().zip(COLOURS.iter().cycle()) {
            let rate = rate(rates);
            let (width, middle) = ((WIDTH - NAME - 80) as f64 * rate / best, y + 11);
            let _ = write!(
                svg,
                "<text x=\"4\" y=\"{middle}\">{name}</text><rect x=\"{NAME}\" y=\"{y}\" width=\"{width:.1}\" \
                 height=\"{}\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{middle}\">{:.0} k</text>",
                BAR - 3,
                NAME as f64 + width + 4.0,
                rate / 1e3
            );
            y += BAR;
        }
    }
    svg.push_str("</svg>\n");
    svg
}
