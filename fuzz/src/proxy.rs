//! Variables with proxies.

use symbolon_hyper::HyperTransport;
use symbolon_types::{Context, Env};

/// Arbitrary values do not panic. The parts of an input are a proxy and the hosts that bypass it.
pub(crate) fn run(input: &[u8]) -> bool {
    let mut texts = crate::parts(input).map(std::str::from_utf8);
    let Some(Ok(proxy)) = texts.next() else { return false };
    let Ok(exceptions) = texts.next().unwrap_or(Ok("")) else { return false };
    let env = Env::from_iter([("HTTPS_PROXY", proxy), ("NO_PROXY", exceptions)]);
    let context = Context::default().with_env(env);
    let built = HyperTransport::builder().platform_roots(false).context(context).build();
    if let Err(error) = &built {
        assert!(!error.to_string().is_empty());
    }
    built.is_ok() && !proxy.is_empty()
}
