//! Masks the secrets of a command line in errors and results.

/// Replacement of a secret.
const MASK: &str = "<secret>";
/// Shorter values are not masked: they would match everywhere.
const SHORTEST: usize = 4;
/// Final words of flag and variable names with secret values: `--api-key`, `--hf-token`, `HF_TOKEN`.
const NAMES: [&str; 8] = [
    "key",
    "apikey",
    "token",
    "secret",
    "password",
    "passwd",
    "credentials",
    "authorization",
];

/// The secrets of one command line.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// The values of flags and variables with such names, and the user information of URLs.
    pub(super) fn of(line: &str) -> Self {
        let words = shlex::split(line)
            .unwrap_or_else(|| line.split_whitespace().map(str::to_owned).collect());
        let mut secrets = Vec::new();
        let mut of_flag = false;
        for word in &words {
            let is_flag = word.starts_with('-');
            if of_flag && !is_flag {
                secrets.push(word.clone());
            }
            of_flag = false;
            match word.split_once('=') {
                Some((name, value)) if is_secret(name) => secrets.push(value.to_owned()),
                None if is_flag => of_flag = is_secret(word),
                _ => {}
            }
            secrets.extend(user_of_url(word));
        }
        secrets.retain(|secret| secret.len() >= SHORTEST);
        // Longest first: one secret may contain another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// `text` with every secret masked.
    pub(super) fn masked(&self, text: &str) -> String {
        let mask = |text: String, secret: &String| text.replace(secret.as_str(), MASK);
        self.0.iter().fold(text.to_owned(), mask)
    }
}

fn is_secret(name: &str) -> bool {
    let last = name.rsplit(['-', '_', '.']).next().unwrap_or(name);
    NAMES.contains(&last.to_ascii_lowercase().as_str())
}

fn user_of_url(word: &str) -> Option<String> {
    let (_, rest) = word.split_once("://")?;
    let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
    Some(user.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_flags_are_masked_and_others_stay() {
        for (line, shown) in [
            (
                "HF_TOKEN=hf_abcd vllm serve m --api-key sk-1234 --port 8000",
                "HF_TOKEN=<secret> vllm serve m --api-key <secret> --port 8000",
            ),
            (
                "vllm serve m --hf-token='hf abcd' --max-num-batched-tokens 8192",
                "vllm serve m --hf-token='<secret>' --max-num-batched-tokens 8192",
            ),
            (
                "vllm serve http://me:hunter2@a/m --tokenizer abcd",
                "vllm serve http://<secret>@a/m --tokenizer abcd",
            ),
        ] {
            assert_eq!(Secrets::of(line).masked(line), shown);
        }
        let secrets = Secrets::of("vllm serve m --api-key sk-1234");
        assert_eq!(
            secrets.masked("args: {'api_key': 'sk-1234'}"),
            "args: {'api_key': '<secret>'}"
        );
    }
}
