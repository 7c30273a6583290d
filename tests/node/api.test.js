// /openapi.json is what the pod does: its paths are there, and /v1/status has just the fields it says.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createWorker } from '../lib/application.js';
import { startPod, startVirtualPod } from '../lib/pod.js';

test('every path that the description names exists, and answers as it says', async (t) => {
  const pod = await startPod(t);
  const description = await (await pod.get('/openapi.json')).json();
  const paths = Object.entries(description.paths);
  assert.ok(paths.length > 4);
  for (const [path, methods] of paths) {
    for (const [method, { responses }] of Object.entries(methods)) {
      const response = await fetch(pod.url + path.replace('{name}', 'call'), {
        method: method.toUpperCase(),
        // Enough of a body for none of them.
        body: method === 'put' ? '{}' : undefined,
      });
      const what = `${method} ${path} answers ${response.status}`;
      assert.ok(responses[response.status], what);
      const type = response.headers.get('content-type') ?? '';
      const types = Object.keys(responses[response.status].content);
      assert.ok(
        types.some((known) => type.startsWith(known)),
        `${what}, ${type}`,
      );
    }
  }
});

test('/v1/status has the fields that the description names, no more and no fewer', async (t) => {
  const pod = await startVirtualPod(t);
  // One of each, so that no list is empty.
  const lender = { name: 'nobody', url: 'ws://127.0.0.1:1' };
  const body = JSON.stringify({ generation: 1, pods: [lender] });
  await fetch(`${pod.url}/v1/sessions/call`, { method: 'PUT', body });
  await createWorker(t, `${pod.webSocketUrl}/v1/sessions/call`);
  await createWorker(t, pod, {}, { env: { MAFALDA_MODE: 'real' } });
  const { components } = await (await pod.get('/openapi.json')).json();
  compare(await pod.status(), { $ref: '#/components/schemas/Status' }, 'status');

  function compare(value, schema, where) {
    if (schema.$ref) schema = components.schemas[schema.$ref.split('/').at(-1)];
    if (schema.oneOf)
      schema = schema.oneOf.find(({ type }) => (type === 'null') === (value === null));
    if (schema.$ref) return compare(value, schema, where);
    if (schema.enum) assert.ok(schema.enum.includes(value), `${where} is ${value}`);
    for (const type of [schema.type ?? []].flat().slice(0, 1)) {
      const actual = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
      const expected = type === 'integer' ? 'number' : type;
      assert.ok(
        [schema.type].flat().includes(actual) || actual === expected,
        `${where}: ${actual}`,
      );
    }
    if (schema.type === 'array') {
      assert.ok(value.length > 0, `${where} is empty`);
      value.forEach((item, index) => compare(item, schema.items, `${where}[${index}]`));
    }
    if (schema.type === 'object' && schema.properties) {
      assert.deepEqual(Object.keys(value).sort(), Object.keys(schema.properties).sort(), where);
      for (const [name, property] of Object.entries(schema.properties)) {
        compare(value[name], property, `${where}.${name}`);
      }
    }
  }
});
