/**
 * @param {number[]} values
 * @param {number} q  0 to 1
 */
export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

/** @param {number} value */
export const round = (value, digits = 2) => Number(value.toFixed(digits));

/**
 * @param {number[]} local  milliseconds
 * @param {number[]} remote  milliseconds
 */
export function compare(local, remote) {
  const at = (/** @type {number} */ q) => {
    const [l, r] = [quantile(local, q), quantile(remote, q)];
    return {
      localMicros: Math.round(l * 1e3),
      remoteMicros: Math.round(r * 1e3),
      ratio: round(r / l),
    };
  };
  return { rounds: local.length, median: at(0.5), p99: at(0.99) };
}
