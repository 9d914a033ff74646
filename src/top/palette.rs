//! The colours that a terminal can show.

use ratatui::style::{Color, Modifier, Style};

/// How many colours there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// None: bold, dim and reversed text only.
    Plain,
    /// The sixteen of every terminal.
    Basic,
    /// 256.
    Indexed,
    /// True colour.
    True,
}

/// The role of a coloured element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All is well, or a target is met.
    Good,
    /// Costs throughput or latency.
    Warning,
    /// Users are affected now.
    Bad,
    /// Secondary information.
    Faint,
    /// Decode.
    Decode,
    /// Prefill.
    Prefill,
    /// A component of time.
    Component(&'static str),
}

impl Palette {
    /// The palette of a terminal, from the variables `NO_COLOR`, `COLORTERM` and `TERM`; `wanted` decides before them.
    #[must_use]
    pub(crate) fn of_terminal(
        wanted: Option<bool>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        let term = variable("TERM").unwrap_or_default();
        let depth = variable("COLORTERM").unwrap_or_default();
        match wanted {
            Some(false) => Self::Plain,
            None if refused || term == "dumb" => Self::Plain,
            _ if depth == "truecolor" || depth == "24bit" => Self::True,
            _ if term.contains("256color") => Self::Indexed,
            _ => Self::Basic,
        }
    }

    /// The style of `role`.
    #[must_use]
    pub fn style(self, role: Role) -> Style {
        let [rgb, index, basic] = colours(role);
        let style = match self {
            Self::Plain => Style::new(),
            Self::Basic => Style::new().fg(basic),
            Self::Indexed => Style::new().fg(index),
            Self::True => Style::new().fg(rgb),
        };
        match role {
            Role::Bad | Role::Warning if self == Self::Plain => style.add_modifier(Modifier::BOLD),
            Role::Faint if self == Self::Plain => style.add_modifier(Modifier::DIM),
            _ => style,
        }
    }

    /// The colour of `role`, for widgets without styles.
    #[must_use]
    pub fn colour(self, role: Role) -> Color {
        self.style(role).fg.unwrap_or(Color::Reset)
    }
}

/// `role` in true colour, of 256 and of 16. The components have the colours of the landing page.
const fn colours(role: Role) -> [Color; 3] {
    const fn of(rgb: (u8, u8, u8), index: u8, basic: Color) -> [Color; 3] {
        [
            Color::Rgb(rgb.0, rgb.1, rgb.2),
            Color::Indexed(index),
            basic,
        ]
    }
    match role {
        Role::Good => of((0x3f, 0xb9, 0x50), 71, Color::Green),
        Role::Warning => of((0xd2, 0x99, 0x22), 178, Color::Yellow),
        Role::Bad => of((0xf8, 0x51, 0x49), 203, Color::LightRed),
        Role::Faint => of((0x8b, 0x94, 0x9e), 245, Color::Gray),
        Role::Decode => of((0x58, 0xa6, 0xff), 75, Color::LightBlue),
        Role::Prefill => of((0xdb, 0x6d, 0x28), 172, Color::Yellow),
        Role::Component(name) => match name.as_bytes() {
            b"compute" => of((0xdb, 0x6d, 0x28), 172, Color::Yellow),
            b"memory" => of((0x58, 0xa6, 0xff), 75, Color::LightBlue),
            b"communication" => of((0xbc, 0x8c, 0xff), 141, Color::Magenta),
            b"host" | b"overhead" => of((0xf8, 0x51, 0x49), 203, Color::LightRed),
            b"kernel_latency" => of((0xff, 0x9b, 0xce), 218, Color::LightMagenta),
            b"stalled" => of((0xff, 0xff, 0xff), 231, Color::White),
            _ => of((0x6e, 0x76, 0x81), 242, Color::DarkGray),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn palette(wanted: Option<bool>, variables: &[(&str, &str)]) -> Palette {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Palette::of_terminal(wanted, variable)
    }

    #[test]
    fn a_terminal_gets_the_colours_it_has_and_wants() {
        let full = [("TERM", "xterm-256color"), ("COLORTERM", "truecolor")];
        assert_eq!(palette(None, &full), Palette::True);
        assert_eq!(palette(None, &full[..1]), Palette::Indexed);
        assert_eq!(palette(None, &[("TERM", "linux")]), Palette::Basic);
        assert_eq!(palette(None, &[("TERM", "dumb")]), Palette::Plain);
        let refusing = [("TERM", "xterm-256color"), ("NO_COLOR", "1")];
        assert_eq!(palette(None, &refusing), Palette::Plain);
        assert_eq!(palette(Some(true), &refusing), Palette::Indexed);
        assert_eq!(palette(Some(false), &full), Palette::Plain);
    }

    #[test]
    fn without_colours_nothing_has_one() {
        for role in [Role::Good, Role::Bad, Role::Component("memory")] {
            assert_eq!(Palette::Plain.style(role).fg, None);
        }
    }
}
