// Runs a state machine in JSONata, as the specification of the Amazon States Language has it, for the kinds of states and fields that ours has; any
// other is an error. Expressions are evaluated by the reference implementation, tasks are answered by the case: node run.js JSONATA <WORK
"use strict";
const jsonata = require(process.argv[2]);
const work = JSON.parse(require("fs").readFileSync(0, "utf8"));

const KNOWN = {
  Choice: ["Type", "Choices", "Default"],
  Task: ["Type", "Resource", "Arguments", "TimeoutSeconds", "Output", "Retry", "Catch", "Next", "End"],
  Map: ["Type", "Items", "MaxConcurrency", "ItemSelector", "ItemProcessor", "Output", "Next", "End"],
  Pass: ["Type", "Output", "Next", "End"],
  Succeed: ["Type"],
  Fail: ["Type", "Error", "Cause"],
};

class Failed extends Error {
  constructor(error, cause) {
    super(`${error}: ${cause}`);
    this.errorOutput = { Error: error, Cause: cause };
  }
}

async function evaluated(value, states) {
  if (typeof value === "string" && value.startsWith("{%") && value.endsWith("%}")) {
    let result;
    try {
      result = await jsonata(value.slice(2, -2)).evaluate(undefined, { states });
    } catch (error) {
      throw new Failed("States.QueryEvaluationError", `${value}: ${error.message}`);
    }
    // An expression that finds nothing is an error of the execution.
    if (result === undefined) throw new Failed("States.QueryEvaluationError", `${value} is nothing`);
    return JSON.parse(JSON.stringify(result));
  }
  if (Array.isArray(value)) return Promise.all(value.map((each) => evaluated(each, states)));
  if (value && typeof value === "object") {
    const all = {};
    for (const [name, each] of Object.entries(value)) all[name] = await evaluated(each, states);
    return all;
  }
  return value;
}

async function run(machine, input, test, context, seen) {
  let name = machine.StartAt;
  for (;;) {
    const state = machine.States[name];
    if (!state) throw new Error(`there is no state ${name}`);
    const strange = Object.keys(state).filter((field) => !KNOWN[state.Type]?.includes(field));
    if (strange.length) throw new Error(`${name}: this runner knows no ${strange} of ${state.Type}`);
    seen.states.push(name);
    const states = { input, context };
    let output = input;
    let next = state.Next;
    let isOver = state.End;
    try {
      if (state.Type === "Succeed") return input;
      if (state.Type === "Fail") throw new Failed(await evaluated(state.Error, states), await evaluated(state.Cause, states));
      if (state.Type === "Choice") {
        next = state.Default;
        for (const choice of state.Choices) {
          const holds = await evaluated(choice.Condition, states);
          if (typeof holds !== "boolean") throw new Failed("States.QueryEvaluationError", `${choice.Condition} is ${holds}`);
          if (!holds) continue;
          next = choice.Next;
          if ("Output" in choice) output = await evaluated(choice.Output, states);
          break;
        }
      } else {
        if (state.Type === "Task") {
          const given = await evaluated(state.Arguments, states);
          seen.calls.push({ state: name, arguments: given });
          const answers = test.answers[name];
          // One answer for all calls, or one for each bucket.
          const answer = answers?.[given.Payload?.bucket] ?? answers?.all ?? {};
          if (answer.Error) throw new Failed(answer.Error, answer.Cause);
          states.result = answer;
        } else if (state.Type === "Map") {
          states.result = [];
          for (const [index, value] of (await evaluated(state.Items, states)).entries()) {
            const own = { ...context, Map: { Item: { Index: index, Value: value } } };
            const item = await evaluated(state.ItemSelector, { input, context: own });
            states.result.push(await run(state.ItemProcessor, item, test, own, seen));
          }
        }
        if ("Output" in state) output = await evaluated(state.Output, states);
        else if ("result" in states) output = states.result;
      }
    } catch (error) {
      if (!(error instanceof Failed) || state.Type === "Fail") throw error;
      const caught = (state.Catch || []).find(({ ErrorEquals }) =>
        ErrorEquals.some((each) => each === "States.ALL" || each === error.errorOutput.Error),
      );
      if (!caught) throw error;
      const failed = { input, context, errorOutput: error.errorOutput };
      output = "Output" in caught ? await evaluated(caught.Output, failed) : error.errorOutput;
      [next, isOver] = [caught.Next, false];
    }
    if (isOver) return output;
    [name, input] = [next, output];
  }
}

(async () => {
  const ran = [];
  for (const test of work.cases) {
    const seen = { states: [], calls: [] };
    const context = { Execution: { Id: "arn:execution", StartTime: "2026-01-01T00:00:00Z" } };
    try {
      seen.output = await run(work.definition, test.input, test, context, seen);
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      seen.failed = error.errorOutput;
    }
    ran.push(seen);
  }
  console.log(JSON.stringify(ran));
})();
