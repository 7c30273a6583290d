// mediasoup's own tests, compiled, as its npm package ships them.
module.exports = {
  testRegex: 'node/lib/test/test-.*\\.js$',
  testEnvironment: 'node',
  maxWorkers: 1,
};
