//! The function `step-function-invoker`.

fn main() -> Result<(), lambdas::RuntimeError> {
    lambdas::serve(lambdas::step_function_invoker::handle)
}
