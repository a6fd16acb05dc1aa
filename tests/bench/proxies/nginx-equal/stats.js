// Written by hand: requests by status, their seconds, and each server's requests and failures.

function record(r) {
    const stats = ngx.shared.stats;
    const v = r.variables;
    stats.incr(`status ${v.status}`, 1, 0);
    stats.incr('seconds', Number(v.request_time), 0);
    const servers = v.upstream_addr;
    if (servers) {
        const answers = v.upstream_status.split(', ');
        servers.split(', ').forEach((server, i) => attempt(stats, server, answers[i]));
    }
    return '';
}

function attempt(stats, server, answer) {
    if (!server.includes(':')) {
        return;  // It is the upstream's name: none of its servers could be asked.
    }
    const failed = answer === '502' || answer === '504' || answer === '-' || !answer;
    stats.incr(`tries ${server}`, 1, 0);
    stats.incr(`failures ${server}`, failed ? 1 : 0, 0);
    stats.set(`up ${server}`, failed ? 0 : 1);
}

function show(r) {
    const lines = ['edge_up 1'];
    let requests = 0;
    ngx.shared.stats.items().sort().forEach((item) => {
        const value = item[1];
        const space = item[0].indexOf(' ');
        const kind = space < 0 ? item[0] : item[0].slice(0, space);
        const of = item[0].slice(space + 1);
        const backend = `{pool="app",backend="${of}"}`;
        switch (kind) {
        case 'status':
            requests += value;
            lines.push(`edge_requests_total{pool="app",status="${of}"} ${value}`);
            break;
        case 'seconds':
            lines.push(`edge_request_seconds_sum{pool="app"} ${value}`);
            break;
        case 'tries':
            lines.push(`edge_backend_requests_total${backend} ${value}`);
            break;
        case 'failures':
            lines.push(`edge_backend_failures_total${backend} ${value}`);
            break;
        case 'up':
            lines.push(`edge_backend_up${backend} ${value}`);
            break;
        }
    });
    if (requests) {
        lines.push(`edge_request_seconds_count{pool="app"} ${requests}`);
    }
    r.headersOut['Content-Type'] = 'text/plain; version=0.0.4';
    r.return(200, lines.join('\n') + '\n');
}

export default {record, show};
