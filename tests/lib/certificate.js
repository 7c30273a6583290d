import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';

/**
 * Writes a new self-signed ECDSA certificate and its key as PEM files.
 * @param {string} directory
 * @returns {Promise<{ certificate: string, key: string, fingerprint: string }>} the two files
 *   (dtls-cert.pem, dtls-key.pem), and the SHA-256 fingerprint as SDP writes it
 */
export async function makeCertificate(directory) {
  await mkdir(directory, { recursive: true });
  const certificate = path.join(directory, 'dtls-cert.pem');
  const key = path.join(directory, 'dtls-key.pem');
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-subj', '/CN=mafalda test', '-days', '2', '-keyout', key, '-out', certificate],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const { fingerprint256 } = new X509Certificate(await readFile(certificate));
  return { certificate, key, fingerprint: fingerprint256 };
}

/**
 * An authority, and a certificate for these names that it signed.
 * @param {string} directory
 * @param {string} names  as OpenSSL's subjectAltName: "DNS:pod.mafalda"
 */
export function makeAuthority(directory, names) {
  const file = (/** @type {string} */ name) => path.join(directory, name);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const openssl = (/** @type {string[]} */ ...args) =>
    execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  openssl(
    ...['req', '-x509', ...newKey, '-subj', '/CN=Mafalda test authority', '-days', '2'],
    ...['-keyout', file('ca.key'), '-out', file('ca.pem')],
  );
  openssl(
    ...['req', ...newKey, '-subj', '/CN=pod'],
    ...['-keyout', file('pod.key'), '-out', file('pod.csr')],
  );
  writeFileSync(file('names'), `subjectAltName=${names}`);
  openssl(
    ...['x509', '-req', '-in', file('pod.csr'), '-days', '2', '-extfile', file('names')],
    ...[
      '-CA',
      file('ca.pem'),
      '-CAkey',
      file('ca.key'),
      '-CAcreateserial',
      '-out',
      file('pod.pem'),
    ],
  );
  return { ca: file('ca.pem'), certificate: file('pod.pem'), key: file('pod.key') };
}
