//! `demo`: runs the proxy in front of a simulated Talkdesk with sample tenants.
//!
//! The demo writes a configuration and secrets to a temporary directory and loads them as `serve` does, so it
//! exercises the real code path and the file can be inspected. The directory is removed when the demo ends.

use std::path::Path;

use anyhow::Context as _;

use super::arguments::{DemoArguments, Failed};
use super::check;
use super::runtime::StopSignals;
use super::serve::{run_until_told, start_log};
use crate::app::App;
use crate::clock::Clock;
use crate::simulator::{Options, Simulator, samples};

/// Runs the demo until it is stopped.
pub(super) fn run(arguments: &DemoArguments) -> Result<(), Failed> {
    let folder = tempfile::Builder::new().prefix("billing-insights-proxy-demo-").tempdir()?;
    super::runtime::block_on(async {
        let stop = StopSignals::listen()?;
        let options = Options { listen: arguments.simulator, ..samples() };
        let simulator = Simulator::start(options, Clock::System)
            .await
            .context("the simulated Talkdesk can't be started")?;
        simulator.write_credentials(folder.path())?;
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, configuration(arguments, &simulator))?;
        let config = check::load(&file)?;
        start_log(&config.log);
        let app = App::start(config, Clock::System).await.context("the proxy can't be started")?;
        println!("{}", banner(&app, &simulator, &file));
        run_until_told(app, stop).await;
        simulator.shutdown().await;
        Ok(())
    })
}

/// The configuration of the demo. It is a complete example: each tenant shows another rule.
fn configuration(arguments: &DemoArguments, simulator: &Simulator) -> String {
    SAMPLE
        .replace("{listen}", &arguments.listen.to_string())
        .replace("{admin}", &arguments.admin.to_string())
        .replace("{api_url}", simulator.url())
        .replace("{token_url}", &simulator.token_url())
}

const SAMPLE: &str = include_str!("demo.yaml");

fn banner(app: &App, simulator: &Simulator, file: &Path) -> String {
    BANNER
        .replace("{proxy}", &format!("http://{}", app.addresses().data))
        .replace("{admin}", &format!("http://{}", app.addresses().admin))
        .replace("{simulator}", simulator.url())
        .replace("{config}", &file.display().to_string())
}

const BANNER: &str = r#"
The proxy:              {proxy}
Status page, metrics:   {admin}/   {admin}/metrics
The simulated Talkdesk: {simulator}/_simulator/counters
The configuration:      {config}

Five things to try:

1. A page of invoices of a partner's Organization, without any credential; follow _links.next.href for the rest:
   curl -s {proxy}/organizations/acme/express/invoices
2. One month of one Instance under it, which sees only itself:
   curl -sG {proxy}/instances/josephpinetrees/express/invoices --data-urlencode "filter=date ge '2024-08-01' and date le '2024-08-31'"
3. An Instance sold directly, on a client of its own; the tenant is named in a field this time:
   curl -s -H 'X-Tenant: instances/globex' {proxy}/express/usage/month
4. One that is refused, and why, before anything is sent to Talkdesk:
   curl -s {proxy}/instances/initech/express/invoices
5. What a request costs: ask twice, look at Cache-Status, and at what Talkdesk saw:
   curl -sI {proxy}/organizations/northwind/express/products | grep -i cache-status
   curl -s {simulator}/_simulator/counters

Ctrl-C ends it.
"#;
