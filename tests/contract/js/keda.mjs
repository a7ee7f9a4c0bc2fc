// Reads resources of KEDA's as a JSON array from stdin, and says on stdout what their schemas find
// wrong with each: an array of sentences, empty where nothing is.
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { TriggerAuthentication } from "@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthentication";

const kinds = { ScaledObject, TriggerAuthentication };

let text = "";
for await (const part of process.stdin) text += part;

const problems = [];
for (const { apiVersion, kind, ...rest } of JSON.parse(text)) {
  try {
    new kinds[kind](rest).validate();
  } catch (error) {
    problems.push(`${apiVersion} ${kind}: ${error.message}`);
  }
}
console.log(JSON.stringify(problems));
