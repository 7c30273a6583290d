//! The days as a picture that reads on white and on black.

use crate::day::{Day, Fifteen, Policy, Sample};
use std::fmt::Write;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 730.0;

struct Panel {
    title: &'static str,
    top: f64,
    bottom: f64,
    value: fn(&Sample) -> f64,
    /// The value of each line, and what is written beside it.
    lines: &'static [(f64, &'static str)],
    /// As logarithms, from the first line to the last.
    logarithmic: bool,
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "piped producers at once (logarithmic)",
        top: 40.0,
        bottom: 210.0,
        value: |sample| sample.copies as f64,
        lines: &[
            (10.0, "10"),
            (100.0, "100"),
            (1000.0, "1 000"),
            (10_000.0, "10 000"),
            (100_000.0, "100 000"),
        ],
        logarithmic: true,
    },
    Panel {
        title: "workers in use, of 224",
        top: 270.0,
        bottom: 400.0,
        value: |sample| sample.workers as f64,
        lines: &[(0.0, "0"), (75.0, "75"), (150.0, "150"), (225.0, "225")],
        logarithmic: false,
    },
    Panel {
        title: "of them, over the watermark",
        top: 460.0,
        bottom: 590.0,
        value: |sample| sample.over,
        lines: &[(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")],
        logarithmic: false,
    },
];

impl Panel {
    fn up(&self, value: f64) -> f64 {
        let scale = |value: f64| match self.logarithmic {
            true => value.max(self.lines[0].0).log10(),
            false => value,
        };
        let (low, high) = (
            scale(self.lines[0].0),
            scale(self.lines[self.lines.len() - 1].0),
        );
        self.bottom - (scale(value) - low) / (high - low) * (self.bottom - self.top)
    }
}

pub fn draw(days: &[(Policy, Day, Fifteen)]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} 630\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#888888\">\n\
         <title>A simulated day under three ways to place: piped producers, workers in use, over the watermark</title>\n"
    );
    for panel in &PANELS {
        draw_panel(&mut svg, panel, days);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel, days: &[(Policy, Day, Fifteen)]) {
    // Writing to a string does not fail.
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\" font-size=\"14\">{}</text>",
        panel.top - 14.0,
        panel.title
    );
    for (value, name) in panel.lines {
        let y = panel.up(*value);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#888888\" stroke-opacity=\"0.3\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    for hour in (0..=24).step_by(4) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{hour}:00</text>",
            across(f64::from(hour)),
            panel.bottom + 18.0
        );
    }
    for (row, (policy, day, _)) in days.iter().enumerate() {
        let (name, colour) = match policy {
            Policy::Pack => ("pack", "#3b82f6"),
            Policy::Spread => ("spread", "#f59e0b"),
            Policy::Mesh => ("eager mesh", "#ef4444"),
        };
        let mut path = String::new();
        for (index, sample) in day.samples.iter().enumerate() {
            let letter = if index == 0 { 'M' } else { 'L' };
            let (x, y) = (across(sample.hours), panel.up((panel.value)(sample)));
            let _ = write!(path, "{letter}{x:.1} {y:.1}");
        }
        let y = panel.top + 14.0 + 20.0 * row as f64;
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"1.6\" fill=\"none\"/>\n\
             <path d=\"M{} {y}h18\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{}\" y=\"{}\">{name}</text>",
            RIGHT + 14.0,
            RIGHT + 38.0,
            y + 4.0
        );
    }
}

fn across(hours: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * hours / 24.0
}
