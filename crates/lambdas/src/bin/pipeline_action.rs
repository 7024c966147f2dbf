//! The function `pipeline-action`.

fn main() -> Result<(), lambdas::RuntimeError> {
    lambdas::serve(lambdas::pipeline_action::handle)
}
