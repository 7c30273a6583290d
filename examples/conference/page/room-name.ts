/** A name for a new room that is easy to say and hard to guess by chance. */
const FIRST = [
  'amber',
  'bright',
  'calm',
  'early',
  'golden',
  'kind',
  'lively',
  'quiet',
  'silver',
  'wild',
];
const SECOND = [
  'brook',
  'cedar',
  'falcon',
  'garden',
  'harbor',
  'meadow',
  'otter',
  'river',
  'summit',
  'willow',
];

export function newRoomName(): string {
  const random = crypto.getRandomValues(new Uint32Array(3));
  const pick = (words: string[], index: number) => words[(random[index] ?? 0) % words.length] ?? '';
  return `${pick(FIRST, 0)}-${pick(SECOND, 1)}-${(random[2] ?? 0) % 1000}`;
}
