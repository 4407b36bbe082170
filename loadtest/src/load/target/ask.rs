//! What a server tells of itself over HTTP: whether it is ready, and its figures.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Certificate, Client};

use super::Trust;

/// A figure by its labels: `kind="head"`.
pub type Figure = BTreeMap<String, f64>;

/// Longest an answer may take; a server under full load still has a core now and then.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Somebody who asks.
///
/// # Errors
/// When a certificate cannot be read.
pub(super) fn client(trust: Option<&Trust>) -> Result<Client> {
    chassis::tls::install_provider();
    let trusted = trust.iter().flat_map(|trust| &trust.certificates);
    let certificates: Vec<Certificate> =
        trusted.map(|der| Certificate::from_der(der)).collect::<Result<_, _>>()?;
    let client = Client::builder().timeout(ANSWER_MAX).no_proxy().tls_certs_only(certificates);
    client.build().context("a client for HTTP")
}

/// The answer to a GET, when it is a good one.
pub(super) async fn get(client: &Client, url: &str) -> Result<String> {
    let answer = client.get(url).send().await.with_context(|| url.to_owned())?;
    let answer = answer.error_for_status().with_context(|| url.to_owned())?;
    answer.text().await.with_context(|| url.to_owned())
}

/// A figure in the text of `/metrics`, by its labels as they stand there; empty when it is not
/// there yet.
#[must_use]
pub(super) fn figure(text: &str, name: &str) -> Figure {
    let lines = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        // Another figure may begin with the same letters.
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?,
            None => ("", rest),
        };
        let value = rest.strip_prefix(' ')?.split(' ').next()?.parse().ok()?;
        Some((labels.to_owned(), value))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_its_labels_and_is_no_other_with_a_longer_name() {
        let text = "# HELP store_queries_total What was asked.\n\
                    store_queries_total{kind=\"head\"} 3\n\
                    store_queries_total{kind=\"a } b\"} 4.5 1700000000\n\
                    store_queries_total_of_another 100\n\
                    store_up 1\n";
        let expected = [("kind=\"a } b\"".to_owned(), 4.5), ("kind=\"head\"".to_owned(), 3.0)];
        assert_eq!(figure(text, "store_queries_total"), Figure::from(expected));
        assert_eq!(figure(text, "store_up"), Figure::from([(String::new(), 1.0)]));
        assert_eq!(figure(text, "store"), Figure::new());
    }
}
