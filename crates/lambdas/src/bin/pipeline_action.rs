//! The function `pipeline-action`.

fn main() -> Result<(), lambdas::Failure> {
    lambdas::serve(lambdas::pipeline_action::handle)
}
