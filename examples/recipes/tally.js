// What every program here does with its query: runs it again and again, and counts. Twice a second
// it prints what happened as one line of JSON; SIGTERM ends it.
'use strict';

const PAUSE = 100;
const REPORT = 500;

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

exports.run = async (query) => {
  let stopped = false;
  let [queries, failures, user, texts] = [0, 0, null, []];
  const report = () => {
    console.log(JSON.stringify({ queries, failures, user, texts }));
    texts = [];
  };
  process.on('SIGTERM', () => { stopped = true; });
  const reporting = setInterval(report, REPORT);
  while (!stopped) {
    try {
      user = await query();
      queries += 1;
    } catch (error) {
      failures += 1;
      texts.push(String(error));
    }
    await wait(PAUSE);
  }
  clearInterval(reporting);
  report();
};
