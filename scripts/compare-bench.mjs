#!/usr/bin/env node
// Compares this build with an earlier one: node scripts/compare-bench.mjs [COMMIT] [-- flags of waybill bench]. Without a
// commit it is the last tag, or where there is none the commit before this one. Both builds run the same cases in turn, three
// times, so that what else the machine does meets both. It tells the medians and their ratios, names what is more than a tenth
// slower, and does not fail for it: figures of a busy machine are no proof.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const pairs = 3
const slower = 1.1

const args = process.argv.slice(2)
const rest = args.indexOf('--')
const flags = rest < 0 ? ['-case', 'one,few,steady', '-scale', '0.4'] : args.slice(rest + 1)
const git = (...a) => execFileSync('git', a, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()

// earlier is the commit to compare with.
function earlier () {
  if (args.length > 0 && args[0] !== '--') return args[0]
  try {
    return git('describe', '--tags', '--abbrev=0', 'HEAD^')
  } catch {
    return 'HEAD^'
  }
}

let base
try {
  base = git('rev-parse', '--verify', '--quiet', earlier() + '^{commit}')
} catch {
  console.log(`There is no commit ${earlier()} here to compare with, so nothing was measured.`)
  process.exit(0)
}
const dir = mkdtempSync(join(tmpdir(), 'waybill-compare-'))
const builds = { before: join(dir, 'before'), after: join(dir, 'after') }
const run = (build) => {
  // A private PostgreSQL refuses to run from programs that its account cannot reach, and those are found beside the program's own
  // directory or on the machine: so it runs where node_modules is.
  const r = spawnSync(builds[build], ['bench', ...flags], { cwd: root, encoding: 'utf8' })
  if (r.status !== 0) throw new Error(`${build}: waybill bench ${flags.join(' ')} failed: ${r.stderr}`)
  return r.stdout.split('\n').map(parse).filter(Boolean)
}

// parse reads a line of results: case, publishers, accepted and delivered a second, latencies, processor time of an event.
function parse (line) {
  const m = /^(\S+) +\d+ +(\d+) +(\d+) +([\d.]+)\/[\d.]+\/([\d.]+)\/[\d.]+ ms +[\d./]+ ms +([\d.]+) ms/.exec(line)
  return m && { name: m[1], 'delivered/s': +m[3], 'p50 ms': +m[4], 'p99 ms': +m[5], 'CPU ms': +m[6] }
}

const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]

try {
  git('worktree', 'add', '--detach', '--force', join(dir, 'tree'), base)
  const build = (cwd, out) => execFileSync('go', ['build', '-trimpath', '-buildvcs=false', '-o', out, '.'], { cwd, stdio: 'inherit' })
  build(join(dir, 'tree'), builds.before)
  build(root, builds.after)
  const seen = { before: [], after: [] }
  for (let i = 0; i < pairs; i++) {
    // In turn, so that neither always comes first.
    for (const b of i % 2 ? ['after', 'before'] : ['before', 'after']) seen[b].push(...run(b))
  }
  console.log(`Before is ${base.slice(0, 12)}; medians of ${pairs} runs in turn: bench ${flags.join(' ')}\n`)
  console.log('case       measure           before      after   ratio')
  const slow = []
  for (const name of new Set(seen.after.map((r) => r.name))) {
    for (const measure of ['delivered/s', 'p50 ms', 'p99 ms', 'CPU ms']) {
      const [before, after] = ['before', 'after'].map((b) => median(seen[b].filter((r) => r.name === name).map((r) => r[measure])))
      const ratio = after / before
      console.log(`${name.padEnd(10)} ${measure.padEnd(12)} ${String(before).padStart(11)} ${String(after).padStart(10)} ${ratio.toFixed(2).padStart(7)}`)
      // The tail of few events is chance; processor time is what a busy machine changes least.
      if (measure === 'CPU ms' && ratio > slower) slow.push(`${name} takes ${Math.round((ratio - 1) * 100)} % more processor time an event`)
    }
  }
  console.log(slow.length ? '\nSLOWER: ' + slow.join('; ') + '. Measure again on a quiet machine.' : '\nNothing takes more than a tenth more processor time.')
} finally {
  spawnSync('git', ['worktree', 'remove', '--force', join(dir, 'tree')], { cwd: root })
  rmSync(dir, { recursive: true, force: true })
}
