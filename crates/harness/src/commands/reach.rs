//! The way to the cloud, looked at before it is gone: whether the endpoint is a URL, whether anything answers there, and whether
//! there is anything to sign requests with. The SDK finds all this out too, after some ten seconds and in other words.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use cloud::Cloud;

use crate::cli::Place;
use crate::exit::Exit;

/// A cloud that answers, as far as can be seen from outside; else it has been said what is wrong.
pub(crate) async fn connect(place: &Place) -> Result<Cloud, Exit> {
    look(place)?;
    Ok(Cloud::connect(&place.config()).await)
}

/// What [`connect`] does, without connecting.
pub(crate) fn look(place: &Place) -> Result<(), Exit> {
    check(place, true)
}

/// Likewise, but for an endpoint at which nothing answers: somebody wants to know that in his own words.
#[cfg(feature = "pipeline")]
pub(crate) fn look_at_settings(place: &Place) -> Result<(), Exit> {
    check(place, false)
}

fn check(place: &Place, is_to_answer: bool) -> Result<(), Exit> {
    let given = place.endpoint_url.as_ref().map(|url| ("--endpoint-url", url.clone()));
    let of_environment = || std::env::var("AWS_ENDPOINT_URL").ok().filter(|url| !url.is_empty());
    let endpoint = given.or_else(|| Some(("AWS_ENDPOINT_URL", of_environment()?)));
    let Some((option, url)) = endpoint else {
        return Ok(());
    };
    let Some(address) = address_of(&url) else {
        say!("harness: {option} {url:?} is no URL; expected one such as http://127.0.0.1:4566");
        return Err(Exit::Usage);
    };
    // A local stack takes any. On AWS a machine's role may be behind them, which only asking tells.
    if !has_credentials(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())) {
        say!(
            "harness: there are no credentials for {url}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (a local stack takes \
             any, such as test), or AWS_PROFILE"
        );
        return Err(Exit::Failed);
    }
    if is_to_answer && !goes_by_proxy(&address) {
        answers(&address).map_err(|error| {
            say!(
                "harness: nothing answers at {url}: {error}; expected a stack there, such as ./get-started.sh brings up, or \
                 another {option}"
            );
            Exit::Failed
        })?;
    }
    Ok(())
}

/// Host and port.
fn address_of(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon of an address in brackets is within them.
        Some((host, digits)) if !digits.ends_with(']') => (host, digits.parse().ok()?),
        _ => (authority, port),
    };
    let host = host.trim_matches(['[', ']']);
    (!host.is_empty() && !host.contains(char::is_whitespace)).then(|| (host.to_owned(), port))
}

fn answers((host, port): &(String, u16)) -> std::io::Result<()> {
    let mut failed = std::io::Error::other("the name has no address");
    for address in (host.as_str(), *port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// What a proxy reaches need not be reachable from here.
fn goes_by_proxy((host, _): &(String, u16)) -> bool {
    let is_local = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    !is_local && names.iter().any(|name| std::env::var_os(name).is_some())
}

/// Whether anything says who asks: keys, a profile, a token, or a service that gives them. The machine's own role is none for an
/// endpoint that is named.
fn has_credentials(is_set: impl Fn(&str) -> bool) -> bool {
    let named = [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let file = |name: &str, of_home: &str| {
        std::env::var_os(name)
            .map_or_else(|| home.join(of_home), PathBuf::from)
            .is_file()
    };
    named.iter().any(|name| is_set(name))
        || file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")
        || file("AWS_CONFIG_FILE", ".aws/config")
}

/// Of one address.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_and_a_host() {
        let of = |url: &str| address_of(url);
        let address = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(of("http://127.0.0.1:4566"), address("127.0.0.1", 4566));
        assert_eq!(of("http://localhost"), address("localhost", 80));
        assert_eq!(of("https://stack.example/x:y"), address("stack.example", 443));
        assert_eq!(of("http://[::1]:4566/"), address("::1", 4566));
        assert_eq!(of("http://[::1]"), address("::1", 80));
        for none in [
            "notaurl",
            "127.0.0.1:4566",
            "ftp://x",
            "http://",
            "http://a b",
            "http://x:port",
            "http://x:99999",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
