// Stack dev: what nginx counts, for Prometheus. Rendered; change the template.
// Histograms come from the app: here are counts and sums only, cheap enough for every request.
//
// What is kept, as "<pool> <what> <address>" → number, so that a request costs two additions:
//   "app 200 10.0.0.2:8000"   requests answered so by the one replica they were given
//   "app 502 "                requests that ended otherwise; their replicas are in the next three:
//   "app answered 10.0.0.2:8000", "app failed 10.0.0.2:8000"    what they were given, and lost
//   "app down 10.0.0.2:8000"  how much it had answered when it last failed
//   "app seconds "            the seconds of all
// njs runs what is outside functions anew for every request: nothing else belongs there.

// For the log's sake: called once for each request, as it is logged.
function count(r) {
    const v = r.variables;
    const pool = v.pool;
    if (!pool) {
        return '';
    }
    const figures = ngx.shared.figures;
    const status = v.status;
    figures.incr(`${pool} seconds `, Number(v.request_time), 0);
    if (v.upstream_status === status && status !== '502' && status !== '504') {
        figures.incr(`${pool} ${status} ${v.upstream_addr}`, 1, 0);
    } else {
        figures.incr(`${pool} ${status} `, 1, 0);
        attempts(figures, pool, v.upstream_addr || '', v.upstream_status || '');
    }
    return '';
}

// Of a request that was given to several, each is named, in turn.
function attempts(figures, pool, addresses, statuses) {
    // Between those of one pass there are commas; a colon where all was begun once more.
    const answers = statuses.split(/, | : /);
    addresses.split(/, | : /).forEach((address, i) => {
        if (address.indexOf(':') < 0) {
            return;
        }
        if (!/^(502|504|-)?$/.test(answers[i] || '')) {
            figures.incr(`${pool} answered ${address}`, 1, 0);
            return;
        }
        figures.incr(`${pool} failed ${address}`, 1, 0);
        figures.set(`${pool} down ${address}`, sums(figures).answered[`${pool} ${address}`] || 0);
    });
}

// What is kept, added up: by pool and status, by pool, and by pool and address.
function sums(figures) {
    const found = { requests: {}, count: {}, seconds: {}, answered: {}, failed: {}, down: {} };
    const add = (family, key, value) => {
        found[family][key] = (found[family][key] || 0) + value;
    };
    figures.items().forEach((item) => {
        const parts = item[0].split(' ');
        const pool = parts[0], what = parts[1], address = parts[2];
        const replica = `${pool} ${address}`;
        if (what === 'seconds') {
            add('seconds', pool, item[1]);
        } else if (found[what]) {
            add(what, replica, item[1]);
        } else {
            add('requests', `${pool} ${what}`, item[1]);
            add('count', pool, item[1]);
            if (address) {
                add('answered', replica, item[1]);
            }
        }
    });
    return found;
}

function expose(r) {
    const found = sums(ngx.shared.figures);
    const lines = ['# HELP edge_up 1, as it answers.', '# TYPE edge_up gauge', 'edge_up 1'];
    const show = (name, type, help, labels, keys, value) => {
        lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
        Object.keys(keys).sort().forEach((key) => {
            const parts = key.split(' ');
            const written = labels.map((label, i) => `${label}="${parts[i]}"`).join(',');
            lines.push(`${name}{${written}} ${value(key)}`);
        });
    };
    const replicas = Object.assign({}, found.answered, found.failed);
    const answered = (key) => found.answered[key] || 0;
    const failed = (key) => found.failed[key] || 0;
    show('edge_requests_total', 'counter', 'Requests answered, by pool and status.',
         ['pool', 'status'], found.requests, (key) => found.requests[key]);
    show('edge_request_seconds_sum', 'counter', 'Seconds requests took in all, by pool.',
         ['pool'], found.seconds, (key) => found.seconds[key]);
    show('edge_request_seconds_count', 'counter', 'Requests that these seconds are of.',
         ['pool'], found.count, (key) => found.count[key]);
    show('edge_backend_requests_total', 'counter', 'Requests a replica was given, by its address.',
         ['pool', 'backend'], replicas, (key) => answered(key) + failed(key));
    show('edge_backend_failures_total', 'counter', 'Requests a replica could not be given or left.',
         ['pool', 'backend'], replicas, failed);
    show('edge_backend_up', 'gauge', 'Whether the last request a replica was given was answered.',
         ['pool', 'backend'], replicas,
         (key) => Number(!failed(key) || answered(key) > found.down[key]));
    r.headersOut['Content-Type'] = 'text/plain; version=0.0.4';
    r.return(200, lines.join('\n') + '\n');
}

export default { count, expose };
