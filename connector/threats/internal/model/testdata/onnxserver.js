// SPDX-License-Identifier: Apache-2.0
//
// Serves one ONNX model over the Open Inference Protocol, for a test.
// Usage: node onnxserver.js FOLDER MODEL, where FOLDER/node_modules has onnxruntime-node.
// It prints its port, and ends with its standard input.
"use strict";
const http = require("http");
const { createRequire } = require("module");
const [folder, file] = process.argv.slice(2);
const ort = createRequire(folder + "/package.json")("onnxruntime-node");

const datatypes = { float32: "FP32", float64: "FP64" };
const arrays = { FP32: Float32Array, FP64: Float64Array };
const types = { FP32: "float32", FP64: "float64" };

function describe(tensors) {
  return tensors.map((t) => ({
    name: t.name,
    datatype: datatypes[t.type],
    shape: t.shape.map((n) => (typeof n === "number" ? n : -1)),
  }));
}

async function infer(session, text) {
  const feeds = {};
  for (const input of JSON.parse(text).inputs) {
    feeds[input.name] = new ort.Tensor(types[input.datatype], arrays[input.datatype].from(input.data), input.shape);
  }
  const results = await session.run(feeds);
  const outputs = Object.entries(results).map(([name, t]) => ({
    name, datatype: datatypes[t.type], shape: t.dims, data: Array.from(t.data),
  }));
  return { model_name: "test", outputs };
}

function reply(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}

async function main() {
  const session = await ort.InferenceSession.create(file);
  const server = http.createServer((request, response) => {
    if (request.method === "GET" && request.url === "/v2/models/test") {
      reply(response, 200, {
        name: "test", versions: ["1"], platform: "onnxruntime_onnx",
        inputs: describe(session.inputMetadata), outputs: describe(session.outputMetadata),
      });
      return;
    }
    if (request.method !== "POST" || request.url !== "/v2/models/test/infer") {
      reply(response, 404, { error: "not found" });
      return;
    }
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () =>
      infer(session, Buffer.concat(chunks).toString())
        .then((body) => reply(response, 200, body))
        .catch((e) => reply(response, 400, { error: String(e) })));
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
  process.stdin.on("end", () => process.exit(0)).resume();
}

main();
