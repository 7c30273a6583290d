//! What the environment says of a virtual worker that the relay runs itself: the words are those of
//! `mafalda serve`.

use mafalda_media_pod::{PipeSettings, Placement, WATERMARK};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A variable that has what it cannot have.
#[derive(Debug, thiserror::Error)]
#[error("{variable} is {value:?}: {reason}")]
pub struct SettingError {
    variable: &'static str,
    value: String,
    reason: String,
}

/// What can be set.
#[derive(Debug)]
pub struct Settings {
    /// How members are chosen.
    pub placement: Placement,
    /// The share of a core above which a member counts as full.
    pub watermark: f32,
    /// How members are connected with each other.
    pub pipes: PipeSettings,
}

/// Reads them from variables, whose values `values` tells; an empty one is none.
///
/// # Errors
/// Names the variable, and what is possible.
pub fn settings(values: &impl Fn(&str) -> Option<String>) -> Result<Settings, SettingError> {
    let otherwise = PipeSettings::default();
    let copies = |variable, otherwise: usize| -> Result<usize, SettingError> {
        let found = read(values, variable, |text| number(text, 1..=255))?;
        Ok(found.unwrap_or(otherwise))
    };
    Ok(Settings {
        placement: read(values, "MAFALDA_PLACEMENT", word)?.unwrap_or_default(),
        watermark: read(values, "MAFALDA_WATERMARK", |text| number(text, 0.01..=1.0))?
            .unwrap_or(WATERMARK),
        pipes: PipeSettings {
            srtp: read(values, "MAFALDA_PIPE_SRTP", word)?.unwrap_or_default(),
            rtx: read(values, "MAFALDA_PIPE_RTX", word)?.unwrap_or_default(),
            max_depth: copies("MAFALDA_PIPE_DEPTH", otherwise.max_depth)?,
            max_fan_out: copies("MAFALDA_PIPE_FAN_OUT", otherwise.max_fan_out)?,
            ..otherwise
        },
    })
}

fn read<T>(
    values: &impl Fn(&str) -> Option<String>,
    variable: &'static str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, SettingError> {
    let Some(value) = values(variable).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    match parse(&value) {
        Ok(setting) => Ok(Some(setting)),
        Err(reason) => Err(SettingError {
            variable,
            value,
            reason,
        }),
    }
}

/// One of some words, as the error says.
fn word<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn number<T: FromStr + PartialOrd + Display>(
    text: &str,
    possible: RangeInclusive<T>,
) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| possible.contains(number));
    number.ok_or_else(|| {
        let (first, last) = possible.into_inner();
        format!("it must be a number from {first} to {last}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mafalda_media_pod::Between;

    #[test]
    fn what_is_not_set_is_as_in_a_pod() {
        for nothing in [None, Some(String::new())] {
            let found = settings(&|_| nothing.clone()).unwrap();
            assert_eq!(found.watermark, WATERMARK);
            let (pipes, otherwise) = (found.pipes, PipeSettings::default());
            assert_eq!(
                (pipes.max_depth, pipes.max_fan_out, pipes.srtp, pipes.rtx),
                (
                    otherwise.max_depth,
                    otherwise.max_fan_out,
                    Between::Nobody,
                    Between::Nobody
                )
            );
        }
    }

    #[test]
    fn each_variable_is_its_own_setting() {
        let found = settings(&|variable| {
            let value = match variable {
                "MAFALDA_PLACEMENT" => "spread",
                "MAFALDA_WATERMARK" => "0.25",
                "MAFALDA_PIPE_SRTP" => "pods",
                "MAFALDA_PIPE_RTX" => "on",
                "MAFALDA_PIPE_DEPTH" => "1",
                "MAFALDA_PIPE_FAN_OUT" => "255",
                _ => return None,
            };
            Some(value.to_owned())
        });
        let found = found.unwrap();
        assert_eq!(
            (found.placement, found.watermark),
            (Placement::Spread, 0.25)
        );
        let pipes = found.pipes;
        assert_eq!((pipes.srtp, pipes.rtx), (Between::Pods, Between::Members));
        assert_eq!((pipes.max_depth, pipes.max_fan_out), (1, 255));
    }

    #[test]
    fn a_wrong_one_is_named_with_what_is_possible() {
        for (variable, value, possible) in [
            ("MAFALDA_PLACEMENT", "fast", "pack"),
            ("MAFALDA_WATERMARK", "0", "0.01 to 1"),
            ("MAFALDA_WATERMARK", "NaN", "0.01 to 1"),
            ("MAFALDA_WATERMARK", "60", "0.01 to 1"),
            ("MAFALDA_PIPE_SRTP", "yes", "off, pods, on"),
            ("MAFALDA_PIPE_RTX", "1", "off, pods, on"),
            ("MAFALDA_PIPE_DEPTH", "0", "1 to 255"),
            ("MAFALDA_PIPE_DEPTH", "many", "1 to 255"),
            ("MAFALDA_PIPE_FAN_OUT", "256", "1 to 255"),
            ("MAFALDA_PIPE_FAN_OUT", "-1", "1 to 255"),
        ] {
            let error = settings(&|name| (name == variable).then(|| value.to_owned()));
            let error = error.unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{variable} is {value:?}")),
                "{error}"
            );
            assert!(error.contains(possible), "{error}");
        }
    }
}
