import { readFileSync } from "node:fs";
import { verify } from "./verify.mjs";

const lines = readFileSync(0, "utf8").split("\n");
while (lines.length > 1) {
  const now = Number(lines.shift());
  const secrets = lines.splice(0, Number(lines.shift()));
  const headers = {};
  for (const line of lines.splice(0, Number(lines.shift()))) {
    const space = line.indexOf(" ");
    headers[line.slice(0, space)] = line.slice(space + 1);
  }
  console.log(String(verify(headers, Buffer.from(lines.shift(), "hex"), secrets NOW)));
}
