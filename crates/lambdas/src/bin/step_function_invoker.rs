//! The function `step-function-invoker`.

fn main() -> Result<(), lambdas::Failure> {
    lambdas::serve(lambdas::step_function_invoker::handle)
}
