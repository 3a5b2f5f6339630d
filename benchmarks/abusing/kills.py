from abusing import RIGHT


def trial(rng, folder):
    return RIGHT, ""
