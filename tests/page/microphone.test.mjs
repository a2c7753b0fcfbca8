// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {explainMicrophone} from '../../examples/server/page/sound/microphone.js';

/** @type {import('../../examples/server/page/sound/microphone.js').Surroundings} */
const GOOD = {secure: true, forbidden: false, permission: 'denied', address: 'http://localhost:8998/'};

test('why there is no microphone', () => {
  const insecure = explainMicrophone(null, {...GOOD, secure: false, address: 'http://192.0.2.7:8998/'});
  assert.match(insecure.advice, /https:\/\/192\.0\.2\.7:8998/);
  assert.match(insecure.advice, /ssh -L 8998:localhost:8998 192\.0\.2\.7/);
  const cases = [
    [null, {}, /cannot use a microphone/],
    [{name: 'NotAllowedError', message: 'Permission denied'}, {}, /blocked/],
    [{name: 'NotAllowedError', message: 'Permission dismissed'}, {permission: 'prompt'}, /not allowed/],
    [{name: 'NotAllowedError', message: 'Permission denied by system'}, {}, /system/],
    [{name: 'NotAllowedError', message: 'Permission denied'}, {forbidden: true}, /policy/],
    [{name: 'NotFoundError', message: ''}, {}, /No microphone/],
    [{name: 'NotReadableError', message: ''}, {}, /cannot be used now/],
    [{name: 'OverconstrainedError', message: ''}, {}, /chosen microphone/],
    [{name: 'TypeError', message: 'Odd'}, {}, /could not be opened/],
  ];
  const titles = new Set();
  for (const [error, surroundings, title] of cases) {
    const problem = explainMicrophone(error, {...GOOD, ...surroundings});
    assert.match(problem.title, title);
    assert.ok(problem.advice.length > 10);
    titles.add(problem.title);
  }
  assert.equal(titles.size, cases.length, 'each is said in its own words');
});
