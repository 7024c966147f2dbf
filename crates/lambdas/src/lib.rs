//! The functions of the pipeline, one module each; the binaries of `src/bin` are their mains.
//!
//! A handler takes an event and a cloud and answers with a value: it runs wherever there is an endpoint, and parts that
//! need none are plain functions with tests beside them.

mod artifact;
pub mod build_worker;
pub mod configuration;
mod failure;
pub mod http;
pub mod pipeline_action;
pub mod region_copier;
pub mod regional_sync;
pub mod replication_worker;
pub mod step_function_invoker;
pub mod workflow_input;

use std::future::Future;
use std::pin::Pin;

use cloud::Cloud;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

pub use failure::Failure;
pub use lambda_runtime::Error as RuntimeError;

/// What a binary is: logs as JSON, a cloud from the environment, and `handle` for each event.
///
/// # Errors
/// Those of the runtime.
pub fn serve<F, Fut>(handle: F) -> Result<(), RuntimeError>
where
    F: Fn(Cloud, Value) -> Fut,
    Fut: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| "info".into()))
        .with_current_span(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let cloud = Cloud::from_environment().await;
        let (cloud, handle) = (&cloud, &handle);
        lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
            // Of a type that has a name: the compiler gives up on the nested ones of the SDK.
            let answering: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(handle(cloud.clone(), event.payload));
            let answer = answering.await;
            if let Err(error) = &answer {
                tracing::error!(request = event.context.request_id, kind = error.kind(), %error, "failed");
            }
            answer
        }))
        .await
    })
}
