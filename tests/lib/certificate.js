import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
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
