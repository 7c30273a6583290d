// What the fake microphone hears: Chromium's own beep is too short for anyone to be "speaking".
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { temporaryDirectory } from '../../lib/temporary.js';

const RATE = 48_000;
const SECONDS = 6;
const HEADER = 44;

/**
 * Writes a WAV file that goes up and down like a voice: four syllables a second, on a pitch that
 * wanders, with overtones.
 * @param {import('../../lib/scope.js').Owner} owner
 * @returns {Promise<string>} the file
 */
export async function writeVoice(owner) {
  const samples = RATE * SECONDS;
  const wav = Buffer.alloc(HEADER + samples * 2);
  writeHeader(wav);
  let phase = 0;
  for (let i = 0; i < samples; i++) {
    const time = i / RATE;
    const pitch = 180 + 60 * Math.sin(2 * Math.PI * 0.5 * time);
    phase += (2 * Math.PI * pitch) / RATE;
    const loudness = 0.5 - 0.5 * Math.cos(2 * Math.PI * 4 * time);
    const tone = Math.sin(phase) + 0.5 * Math.sin(2 * phase) + 0.3 * Math.sin(5 * phase);
    wav.writeInt16LE(Math.round(10_000 * loudness * tone), HEADER + i * 2);
  }
  const file = path.join(await temporaryDirectory(owner), 'voice.wav');
  await writeFile(file, wav);
  return file;
}

/** PCM, one channel, 16 bits. */
function writeHeader(wav) {
  wav.write('RIFF', 0);
  wav.writeUInt32LE(wav.length - 8, 4);
  wav.write('WAVEfmt ', 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(RATE, 24);
  wav.writeUInt32LE(RATE * 2, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write('data', 36);
  wav.writeUInt32LE(wav.length - HEADER, 40);
}
