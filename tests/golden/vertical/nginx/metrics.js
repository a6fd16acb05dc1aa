// Stack vertical: what nginx counts, for Prometheus. Rendered; change the template.
// Histograms come from the app: here are counts and sums only, cheap enough for every request.

const FAILED = /^(502|504|-)?$/;
const HELP = {
    edge_requests_total: ['counter', 'Requests answered, by pool and status.'],
    edge_request_seconds_sum: ['counter', 'Seconds requests took in all, by pool.'],
    edge_request_seconds_count: ['counter', 'Requests that these seconds are of.'],
    edge_backend_requests_total: ['counter', 'Requests a replica was given, by its address.'],
    edge_backend_failures_total: ['counter', 'Requests a replica could not be given or left.'],
    edge_backend_up: ['gauge', 'Whether the last request a replica was given was answered.'],
};

function add(name, labels, value) {
    ngx.shared.figures.incr(`${name}{${labels}}`, value, 0);
}

// For the log's sake: called once for each request, as it is logged.
function count(r) {
    const v = r.variables;
    const pool = v.pool;
    if (!pool) {
        return '';
    }
    add('edge_requests_total', `pool="${pool}",status="${v.status}"`, 1);
    add('edge_request_seconds_sum', `pool="${pool}"`, Number(v.request_time));
    add('edge_request_seconds_count', `pool="${pool}"`, 1);
    // Of a request that was given to several, each is named, in turn.
    const addresses = (v.upstream_addr || '').split(', ');
    const statuses = (v.upstream_status || '').split(', ');
    for (let i = 0; i < addresses.length; i++) {
        if (addresses[i].indexOf(':') < 0) {
            continue;
        }
        const labels = `pool="${pool}",backend="${addresses[i]}"`;
        const failed = FAILED.test(statuses[i] || '');
        add('edge_backend_requests_total', labels, 1);
        add('edge_backend_failures_total', labels, failed ? 1 : 0);
        ngx.shared.figures.set(`edge_backend_up{${labels}}`, failed ? 0 : 1);
    }
    return '';
}

function expose(r) {
    const families = {};
    ngx.shared.figures.items().forEach((item) => {
        const name = item[0].slice(0, item[0].indexOf('{'));
        families[name] = (families[name] || []).concat(`${item[0]} ${item[1]}`);
    });
    let lines = ['# HELP edge_up 1, as it answers.', '# TYPE edge_up gauge', 'edge_up 1'];
    Object.keys(HELP).forEach((name) => {
        const help = [`# HELP ${name} ${HELP[name][1]}`, `# TYPE ${name} ${HELP[name][0]}`];
        lines = lines.concat(help, (families[name] || []).sort());
    });
    r.headersOut['Content-Type'] = 'text/plain; version=0.0.4';
    r.return(200, lines.join('\n') + '\n');
}

export default { count, expose };
