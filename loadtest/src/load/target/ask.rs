//! What a server tells of itself over HTTP: whether it is ready, and its figures.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Certificate, Client};

use super::Trust;

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

/// A figure in the text of `/metrics`, all its labels together; 0 when it is not there yet.
#[must_use]
pub fn figure(text: &str, name: &str) -> f64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        // Another figure may begin with the same letters.
        let rest = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest,
        };
        rest.strip_prefix(' ')?.split(' ').next()?.parse::<f64>().ok()
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_sum_over_its_labels_and_of_no_other_name() {
        let text = "# HELP store_queries_total What was asked.\n\
                    store_queries_total{kind=\"head\"} 3\n\
                    store_queries_total{kind=\"a } b\"} 4.5 1700000000\n\
                    store_queries_total_of_another 100\n\
                    store_up 1\n";
        assert!((figure(text, "store_queries_total") - 7.5).abs() < 1e-9);
        assert!((figure(text, "store_up") - 1.0).abs() < 1e-9);
        assert!(figure(text, "store").abs() < 1e-9);
    }
}
