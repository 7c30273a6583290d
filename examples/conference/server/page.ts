/** Serves the built page from memory: nothing but these files can be asked for. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readFileSync, readdirSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Throws an error when the page has not been built. */
export function pageHandler(
  folder: string,
): (request: IncomingMessage, response: ServerResponse) => void {
  const files = readFolder(folder);
  return (request, response) => {
    const path = (request.url ?? '/').split('?', 1)[0];
    const file = files.get(path === '/' ? '/index.html' : (path ?? ''));
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
    } else if (!file) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n');
    } else {
      response.writeHead(200, file.headers);
      response.end(request.method === 'HEAD' ? undefined : file.body);
    }
  };
}

function readFolder(folder: string) {
  let entries;
  try {
    entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  } catch {
    throw new Error(`there is no page in ${folder}: run 'npm run build' first`);
  }
  const files = entries.filter((entry) => entry.isFile());
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const url = '/' + relative(folder, path).split(sep).join('/');
      const body = readFileSync(path);
      return [url, { body, headers: headersFor(url, body.length) }];
    }),
  );
}

function headersFor(url: string, length: number) {
  // Vite puts a hash of the content in the names of its assets.
  const forEver = url.startsWith('/assets/');
  return {
    'content-type': TYPES[extname(url)] ?? 'application/octet-stream',
    'content-length': length,
    'cache-control': forEver ? 'public, max-age=31536000, immutable' : 'no-cache',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'self'; img-src 'self' data:; frame-ancestors 'self'",
  };
}
