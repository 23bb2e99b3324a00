"""python -m dsconv.summary --config=configs/small.py: prints the layers of a network and their costs."""

import json

from dsconv import cli


def summary(arguments) -> None:
    """Prints the table, or only the totals with --json."""
    from dsconv import config as configuration
    from dsconv.config_checks import resolve
    from dsconv.data import open_source
    from dsconv.models.complexity import layer_costs
    from dsconv.reporting import text_table
    from dsconv.training.network import build_network, image_shape

    config = configuration.load(arguments.config, arguments.overrides)
    config = resolve(config, open_source(config.dataset, prepared=False))
    rows = layer_costs(build_network(config), image_shape(config))
    totals = {key: sum(getattr(row, key) for row in rows) for key in ('parameters', 'macs', 'flops', 'thesis_flops')}
    if arguments.json:
        print(json.dumps({'model': config.model.name, 'image_shape': image_shape(config), **totals}))
        return
    table = [
        [row.path, row.kind, '×'.join(map(str, row.output_shape)), row.parameters, row.macs, row.flops] for row in rows
    ]
    table.append(['total', '', '', totals['parameters'], totals['macs'], totals['flops']])
    print(text_table(['layer', 'kind', 'output', 'parameters', 'MACs', 'FLOPs'], table))
    print(
        '\nFor one image. MACs: multiply-accumulates of convolutions, dense layers and attention. FLOPs: 2 per '
        'multiply-accumulate, 1 per bias,\n2 per normalized element, 1 per element pooled globally.\n'
        'As the thesis counts FLOPs (1 per multiply-accumulate, 2 per normalized element, 1 per element pooled '
        'globally): '
        f'{totals["thesis_flops"] // 10**5 / 10**4:.4f} G'  # truncated, as the thesis prints them
    )


def flags() -> cli.Parser:
    parser = cli.parser('summary', 'Prints the layers of the network of a config, with parameters, MACs and FLOPs.')
    cli.add_config_flag(parser)
    parser.add_argument('--json', action='store_true', help='prints only the totals, as one JSON object')
    return parser


if __name__ == '__main__':
    cli.run(flags(), summary)
