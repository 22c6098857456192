import { init } from "./redoc.js";

const options = {
  disableTelemetry: true,
  hideReplay: true,
  feedback: { hide: true },
  showExtensions: ["x-scope"],
  jsonSamplesExpandLevel: 3,
};

init("/openapi.json", options, document.getElementById("reference"));
