// Network namespaces with real links between them, which a test can cut. Needs root.
import { execFileSync } from 'node:child_process';
import { start } from './process.js';
import { atExit, scopeOf } from './scope.js';

let count = 0;

/**
 * `fetch` by a process in another network namespace.
 * @param {import('./scope.js').Owner} owner
 * @param {string} netns
 * @param {string} url
 * @param {Record<string, string>} [headers]
 * @returns {Promise<Response>}
 */
export async function fetchIn(owner, netns, url, headers = {}) {
  const script = `
    const [, url, headers] = process.argv;
    const response = await fetch(url, {
      headers: JSON.parse(headers),
      signal: AbortSignal.timeout(5000),
    });
    console.log(JSON.stringify({ status: response.status, body: await response.text() }));`;
  const args = ['--input-type=module', '--eval', script, url, JSON.stringify(headers)];
  const fetching = start(owner, process.execPath, args, { netns });
  const { code } = await fetching.ended;
  if (code !== 0) throw new Error(`fetch ${url} in ${netns}: ${fetching.output}`);
  const { status, body } = JSON.parse(fetching.stdout);
  return new Response(body, { status });
}

/** @param {string[]} args */
function ip(...args) {
  try {
    return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const { stderr } = /** @type {any} */ (error);
    throw new Error(`ip ${args.join(' ')}: ${stderr}`, { cause: error });
  }
}

/**
 * A new network namespace with its loopback up; it goes with `owner`.
 * Run things in it with the `netns` option of `start` and `startPod`.
 * @param {import('./scope.js').Owner} owner
 * @returns {string} its name
 */
export function networkNamespace(owner) {
  if (process.getuid?.() !== 0) {
    throw new Error('network namespaces need root: run these tests with sudo');
  }
  const name = `mf${process.pid}n${count++}`;
  ip('netns', 'add', name);
  const remove = () => ip('netns', 'del', name);
  const forget = atExit(remove);
  scopeOf(owner).after(() => {
    forget();
    remove();
  });
  ip('-n', name, 'link', 'set', 'lo', 'up');
  return name;
}

/**
 * Joins two namespaces through a third one, the router between them.
 * @param {import('./scope.js').Owner} owner
 * @param {string} left
 * @param {string} right
 * @returns {{ left: string, right: string, cut: () => void, heal: () => void,
 *   lose: (one: number) => void }} the IPv4 address of each side. `cut` makes the router drop all
 *   that crosses, in both directions: as in a broken network, links stay up and neither end is
 *   told. `lose` makes it drop one of so many UDP packets, by chance.
 */
export function route(owner, left, right) {
  const router = networkNamespace(owner);
  const subnet = `10.77.${count++ % 256}`;
  const ends = [
    { netns: left, own: `${subnet}.2`, gateway: `${subnet}.1`, far: `${subnet}.128/25` },
    { netns: right, own: `${subnet}.130`, gateway: `${subnet}.129`, far: `${subnet}.0/25` },
  ];
  for (const { netns, own, gateway, far } of ends) {
    const id = `mf${process.pid}v${count++}`;
    ip(
      'link',
      'add',
      `${id}a`,
      'netns',
      netns,
      'type',
      'veth',
      'peer',
      'name',
      `${id}b`,
      'netns',
      router,
    );
    ip('-n', netns, 'address', 'add', `${own}/25`, 'dev', `${id}a`);
    ip('-n', netns, 'link', 'set', `${id}a`, 'up');
    ip('-n', router, 'address', 'add', `${gateway}/25`, 'dev', `${id}b`);
    ip('-n', router, 'link', 'set', `${id}b`, 'up');
    ip('-n', netns, 'route', 'add', far, 'via', gateway);
  }
  const forward = (/** @type {0 | 1} */ on) =>
    execFileSync('nsenter', [
      `--net=/var/run/netns/${router}`,
      ...['sh', '-c', `echo ${on} > /proc/sys/net/ipv4/ip_forward`],
    ]);
  forward(1);
  const lose = (/** @type {number} */ one) => {
    const rules = `table ip loss {
      chain crossing {
        type filter hook forward priority 0;
        meta l4proto udp numgen random mod ${one} == 0 drop
      }
    }
    `;
    execFileSync('nsenter', [`--net=/var/run/netns/${router}`, 'nft', '-f', '-'], { input: rules });
  };
  return {
    left: ends[0].own,
    right: ends[1].own,
    cut: () => forward(0),
    heal: () => forward(1),
    lose,
  };
}
